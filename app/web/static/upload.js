"use strict";
// Checks a file as soon as it is chosen or dropped, and shows the progress of the upload. Without
// this script, the form has a button to check the file.

(() => {
  const form = document.getElementById("upload");
  if (!form) return;
  const file = form.querySelector("input[type=file]");
  const dropArea = form.querySelector(".drop");
  const report = document.getElementById("report");
  const progress = document.getElementById("progress");
  const bar = document.getElementById("bar");
  const label = progress.querySelector("label");

  // `nextStep` is the label while the server works on the file.
  function send(url, nextStep) {
    const request = new XMLHttpRequest(); // fetch does not report the progress of an upload
    const data = new FormData(form);
    request.open("POST", url);
    request.setRequestHeader("X-Fragment", "1");
    progress.hidden = false;
    label.textContent = "Sending";
    request.upload.addEventListener("progress", (event) => {
      bar.value = event.total ? (100 * event.loaded) / event.total : 0;
    });
    request.upload.addEventListener("load", () => {
      // The server does not report its progress.
      bar.removeAttribute("value");
      label.textContent = nextStep;
    });
    request.addEventListener("load", () => {
      progress.hidden = true;
      const path = new URL(request.responseURL).pathname;
      if (path !== new URL(url, location).pathname) location.assign(path);
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

  function check() {
    report.replaceChildren();
    if (file.files.length) send(form.action, "Checking");
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter?.classList.contains("store")) send(event.submitter.formAction, "Storing");
    else check();
  });
  file.addEventListener("change", check);
  dropArea.addEventListener("dragover", (event) => {
    event.preventDefault();
    dropArea.classList.add("over");
  });
  dropArea.addEventListener("dragleave", () => dropArea.classList.remove("over"));
  dropArea.addEventListener("drop", (event) => {
    event.preventDefault();
    dropArea.classList.remove("over");
    if (event.dataTransfer.files.length) {
      file.files = event.dataTransfer.files;
      check();
    }
  });
})();
