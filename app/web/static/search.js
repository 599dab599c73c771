"use strict";
// Shows search results while the user types: below the search field of the header, and on the
// search page. Without this script, the forms load the search page.

(() => {
  const INTERVAL_MS = 60;
  const MIN_CHARS = 2;

  // `results` is shown below the field if it is a dropdown, otherwise as part of the page.
  function searchAsYouType(input, results, { isDropdown }) {
    let timer = 0;
    let lastRequest = -INTERVAL_MS;
    let controller = new AbortController();
    const hide = () => { if (isDropdown) results.hidden = true; };

    async function search() {
      timer = 0;
      lastRequest = performance.now();
      // Only the newest request counts.
      controller.abort();
      controller = new AbortController();
      const { signal } = controller;
      if (input.value.trim().length < MIN_CHARS) {
        hide();
        return;
      }
      const url = `${input.form.action}?${new URLSearchParams(new FormData(input.form))}`;
      try {
        const response = await fetch(url, { headers: { "X-Fragment": "1" }, signal });
        const html = await response.text();
        // A redirect leads to the sign-in; a detached field belongs to a page that was left.
        if (!response.ok || response.redirected || !input.isConnected) return;
        results.innerHTML = html;
        results.hidden = false;
        document.dispatchEvent(new CustomEvent("case:results-shown", { detail: results }));
        if (!isDropdown) history.replaceState(history.state, "", url);
      } catch (error) {
        if (error.name !== "AbortError") hide();
      }
    }

    // Search at once for the first character, then at most once per interval.
    input.addEventListener("input", () => {
      timer ||= setTimeout(search, Math.max(0, lastRequest + INTERVAL_MS - performance.now()));
    });
    document.addEventListener("case:navigated", () => {
      clearTimeout(timer);
      timer = 0;
      controller.abort();
    });
    if (isDropdown) handleDropdown(input, results, hide);
  }

  function handleDropdown(input, results, hide) {
    input.form.addEventListener("keydown", (event) => {
      const stops = [input, ...results.querySelectorAll("a")];
      const index = stops.indexOf(document.activeElement);
      if (event.key === "Escape") {
        hide();
        input.focus();
      } else if (!results.hidden && event.key === "ArrowDown") stops[index + 1]?.focus();
      else if (!results.hidden && event.key === "ArrowUp") stops[index - 1]?.focus();
      else return;
      event.preventDefault();
    });
    document.addEventListener("click", (event) => {
      if (!input.form.contains(event.target)) hide();
    });
    input.form.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !input.form.contains(event.relatedTarget)) hide();
    });
  }

  const headerInput = document.getElementById("find");
  const pageInput = document.querySelector("input[data-live]");
  if (headerInput) {
    searchAsYouType(headerInput, document.getElementById("suggestions"), { isDropdown: true });
  }
  if (pageInput) {
    searchAsYouType(pageInput, document.getElementById("results"), { isDropdown: false });
  }
})();
