"use strict";
// Shows the copy buttons, which do nothing without this script.

(() => {
  const FEEDBACK_MS = 1500;

  function showButtons(root) {
    for (const button of root.querySelectorAll("button.copy")) button.hidden = false;
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      const label = button.innerHTML;
      button.textContent = "Copied";
      setTimeout(() => { button.innerHTML = label; }, FEEDBACK_MS);
    } catch {
      // Without access to the clipboard, select the text, so that the user can copy it.
      getSelection().selectAllChildren(source);
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(button);
  });
  document.addEventListener("case:content-replaced", (event) => showButtons(event.detail));
  showButtons(document);
})();
