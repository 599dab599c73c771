"use strict";
// Updates the page /test-mode every two seconds. Without this script, it shows the state when it
// was loaded.

(() => {
  const INTERVAL_MS = 2000;
  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  const status = document.getElementById("update-status");
  if (!live) return;
  let paused = false;
  let currentHtml = "";

  function replace(html) {
    if (html === currentHtml) return;
    currentHtml = html;
    // Keep the scroll positions and the focus, so that an update does not interrupt reading.
    const regions = () => [...live.querySelectorAll("[role=region]")];
    const positions = new Map(regions().map((region) => [region.ariaLabel, region.scrollLeft]));
    const focused = live.contains(document.activeElement) ? document.activeElement : null;
    const label = focused?.ariaLabel;
    const href = focused?.getAttribute("href");
    live.innerHTML = html;
    for (const region of regions()) {
      region.scrollLeft = positions.get(region.ariaLabel) ?? 0;
      if (label && region.ariaLabel === label) region.focus({ preventScroll: true });
    }
    const links = href ? [...live.querySelectorAll("a")] : [];
    links.find((link) => link.getAttribute("href") === href)?.focus({ preventScroll: true });
  }

  async function update() {
    if (!paused && !document.hidden) {
      try {
        const response = await fetch(location.href, { headers: { "X-Fragment": "1" } });
        // A redirect leads to another page, such as the sign-in.
        if (response.redirected) location.reload();
        else if (response.ok) {
          if (!paused) replace(await response.text());
          status.textContent = "";
        } else status.textContent = `Could not update: the server returned ${response.status}`;
      } catch {
        status.textContent = "Could not update: the server cannot be reached";
      }
    }
    setTimeout(update, INTERVAL_MS);
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
  });
  setTimeout(update, INTERVAL_MS);
})();
