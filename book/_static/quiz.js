// Opens the feedback on what the reader takes; without this script it opens by hand.
document.addEventListener("change", (event) => {
  const option = event.target.closest(".quiz .option");
  if (option && event.target.checked) option.querySelector("details").open = true;
});
