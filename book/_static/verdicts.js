// Above each table with a column of verdicts: which of them to show. Without this script all rows are there.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("main table")) {
    const head = [...(table.tHead ? table.tHead.rows[0].cells : [])];
    if (!head.some((cell) => cell.textContent.trim() === "verdict")) continue;
    const rows = [...table.tBodies[0].rows];
    const cells = rows.map((row) => row.querySelector("td.verdict"));
    if (cells.includes(null)) continue;
    const verdicts = cells.map((cell) => cell.textContent.trim());
    const label = document.createElement("label");
    const choice = document.createElement("select");
    label.className = "verdicts";
    label.append("show ", choice);
    for (const verdict of ["all", ...new Set(verdicts)]) {
      const count = verdict === "all" ? rows.length : verdicts.filter((each) => each === verdict).length;
      choice.add(new Option(`${verdict} (${count})`, verdict));
    }
    choice.addEventListener("change", () => {
      rows.forEach((row, k) => { row.hidden = choice.value !== "all" && verdicts[k] !== choice.value; });
    });
    table.before(label);
  }
});
