"""Any sweep compared: what varies between its networks, and what differs with it.

trials ──keys──> Layout ──networks──> one row per network ──estimates──> means, differences ──comparing──> Comparison ──page──> report.html

Shapes, intervals and panels are those of the experiments (memo.statistics, memo.reporting).
"""
