"use strict";
// What makes pages quicker to use: search as one types, copying, and an upload that shows how far
// it has come. Every page can be read without this script.

(() => {
  const PAUSE = 60;
  const SHORTEST = 2;

  // Copying.
  function offerCopies(root) {
    for (const button of root.querySelectorAll("button.copy")) button.hidden = false;
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      const before = button.innerHTML;
      button.textContent = "Copied";
      setTimeout(() => { button.innerHTML = before; }, 1500);
    } catch {
      getSelection().selectAllChildren(source);
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(button);
  });
  document.addEventListener("shown", (event) => offerCopies(event.detail));
  offerCopies(document);

  // Search as one types.
  function live(input, target, { drop }) {
    let waiting = 0;
    let last = -PAUSE;
    let asking = new AbortController();
    const hide = () => { if (drop) target.hidden = true; };

    async function ask() {
      waiting = 0;
      last = performance.now();
      // Only the newest question counts.
      asking.abort();
      asking = new AbortController();
      const { signal } = asking;
      const words = input.value.trim();
      if (words.length < SHORTEST) {
        hide();
        return;
      }
      const params = new URLSearchParams(new FormData(input.form));
      try {
        const answer = await fetch(`${input.form.action}?${params}`, { headers: { "X-Fragment": "1" }, signal });
        const html = await answer.text();
        // A page that leads elsewhere has nothing to show here; nor has one that was left.
        if (!answer.ok || answer.redirected || !input.isConnected) return;
        target.innerHTML = html;
        target.hidden = false;
        document.dispatchEvent(new CustomEvent("found", { detail: target }));
        if (!drop) history.replaceState(history.state, "", `${input.form.action}?${params}`);
      } catch (error) {
        if (error.name !== "AbortError") hide();
      }
    }

    // The first letter is asked for at once, those that follow at most every PAUSE milliseconds.
    input.addEventListener("input", () => {
      waiting ||= setTimeout(ask, Math.max(0, last + PAUSE - performance.now()));
    });
    document.addEventListener("visited", () => {
      clearTimeout(waiting);
      waiting = 0;
      asking.abort();
    });
    if (!drop) return;
    input.form.addEventListener("keydown", (event) => {
      const stops = [input, ...target.querySelectorAll("a")];
      const here = stops.indexOf(document.activeElement);
      if (event.key === "Escape") {
        hide();
        input.focus();
      } else if (!target.hidden && event.key === "ArrowDown") stops[here + 1]?.focus();
      else if (!target.hidden && event.key === "ArrowUp") stops[here - 1]?.focus();
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

  const find = document.getElementById("find");
  const page = document.querySelector("input[data-live]");
  if (find) live(find, document.getElementById("found"), { drop: true });
  if (page) live(page, document.getElementById("results"), { drop: false });

  // Upload.
  const form = document.getElementById("upload");
  if (!form) return;
  const file = form.querySelector("input[type=file]");
  const drop = form.querySelector(".drop");
  const report = document.getElementById("report");
  const progress = document.getElementById("progress");
  const bar = document.getElementById("bar");
  const label = progress.querySelector("label");

  function send(url, after) {
    const request = new XMLHttpRequest();
    const data = new FormData(form);
    request.open("POST", url);
    request.setRequestHeader("X-Fragment", "1");
    progress.hidden = false;
    label.textContent = "Sending";
    request.upload.addEventListener("progress", (event) => {
      bar.value = event.total ? (100 * event.loaded) / event.total : 0;
    });
    request.upload.addEventListener("load", () => {
      // How long the rest takes is not known.
      bar.removeAttribute("value");
      label.textContent = after;
    });
    request.addEventListener("load", () => {
      progress.hidden = true;
      const end = new URL(request.responseURL).pathname;
      if (end !== new URL(url, location).pathname) location.assign(end);
      else {
        report.innerHTML = request.responseText;
        for (const hint of report.querySelectorAll(".without-script")) hint.hidden = true;
      }
    });
    request.addEventListener("error", () => {
      progress.hidden = true;
      report.textContent = "The server could not be reached. Try again.";
    });
    request.send(data);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter?.classList.contains("store")) send(event.submitter.formAction, "Storing");
    else check();
  });

  function check() {
    report.replaceChildren();
    if (file.files.length) send(form.action, "Checking");
  }

  file.addEventListener("change", check);
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) {
      file.files = event.dataTransfer.files;
      check();
    }
  });
})();
