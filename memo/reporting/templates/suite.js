// Filters of the ledger. Without scripts every claim is shown and the form is not.
(() => {
  const form = document.getElementById("filters"), shown = document.getElementById("shown");
  const rows = [...document.querySelectorAll("#claims tr.claim")];
  const groups = [...document.querySelectorAll("#claims tbody, #claims section")];
  const show = () => {
    const wanted = [...form.querySelectorAll("select")].filter((field) => field.value);
    for (const row of rows) row.hidden = wanted.some((field) => row.dataset[field.name] !== field.value);
    for (const group of groups) group.hidden = !group.querySelector("tr.claim:not([hidden])");
    shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  };
  form.addEventListener("change", show);
  form.addEventListener("reset", () => setTimeout(show));
  // A link to a claim that is filtered away shows all of them first.
  addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]'), target = link && document.getElementById(link.hash.slice(1));
    if (target && target.closest("#claims") && target.closest("[hidden]")) form.reset(), show();
  });
  form.hidden = false;
  show();
})();
