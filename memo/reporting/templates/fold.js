// What is folded is open in print, and where a link leads into it.
(() => {
  const folded = () => [...document.querySelectorAll("details:not([open])")];
  let opened = [];
  addEventListener("beforeprint", () => { opened = folded(); for (const each of opened) each.open = true; });
  addEventListener("afterprint", () => { for (const each of opened) each.open = false; });
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const around = target && target.closest("details");
    if (around) around.open = true, target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
