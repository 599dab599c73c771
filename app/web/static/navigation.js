"use strict";
// Loads the pages of frameworks without a full page load: fetches the next page and replaces the
// main content. Prefetches pages that the user points at. Without this script, links work as usual.

(() => {
  const FRAMEWORK_PAGE = /\/documents\//;
  const HOVER_DELAY_MS = 40;
  const RESULTS_DELAY_MS = 120;
  const PREFETCH_LIFETIME_MS = 5000;
  const main = document.getElementById("main");
  const locationPath = () => location.pathname + location.search;
  let currentPath = locationPath();
  let navigationCount = 0;
  let prefetchTimer = 0;
  let prefetched = { href: "", since: 0, html: null };

  // Return the link around an element if it leads to another page of a framework.
  function frameworkLink(element) {
    const link = element.closest?.("a[href]");
    if (!link || link.target || link.hasAttribute("download")) return null;
    const isFramework = link.origin === location.origin && FRAMEWORK_PAGE.test(link.pathname);
    return isFramework && link.pathname + link.search !== currentPath ? link : null;
  }

  async function fetchHtml(href) {
    try {
      const response = await fetch(href);
      return response.ok && !response.redirected ? await response.text() : null;
    } catch {
      return null;
    }
  }

  function prefetch(href) {
    const isFresh = performance.now() - prefetched.since < PREFETCH_LIFETIME_MS;
    if (prefetched.href !== href || !isFresh) {
      prefetched = { href, since: performance.now(), html: fetchHtml(href) };
    }
    return prefetched.html;
  }

  // Prefetch the first search result once the user stops typing: it is chosen most often.
  document.addEventListener("case:results-shown", (event) => {
    clearTimeout(prefetchTimer);
    const first = event.detail.querySelector("a[href]");
    if (first && frameworkLink(first)) {
      prefetchTimer = setTimeout(prefetch, RESULTS_DELAY_MS, first.href);
    }
  });

  for (const name of ["pointerover", "focusin"]) {
    document.addEventListener(name, (event) => {
      clearTimeout(prefetchTimer);
      const link = frameworkLink(event.target);
      if (link && !link.closest("[role=tree]")) {
        prefetchTimer = setTimeout(prefetch, HOVER_DELAY_MS, link.href);
      }
    });
  }

  function replaceMain(page, url) {
    document.querySelector(".top nav").replaceWith(page.querySelector(".top nav"));
    main.replaceChildren(...page.getElementById("main").childNodes);
    document.title = page.title;
    document.getElementById("page-status").textContent = page.title;
    document.getElementById("find").value = "";
    document.getElementById("suggestions").hidden = true;
    currentPath = url.pathname + url.search;
    // As after a full page load, the next Tab goes to the start of the content.
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
    document.dispatchEvent(new CustomEvent("case:navigated"));
    document.dispatchEvent(new CustomEvent("case:content-replaced", { detail: main }));
  }

  async function navigate(url, { addToHistory }) {
    navigationCount += 1;
    const navigation = navigationCount;
    main.ariaBusy = "true";
    const html = await prefetch(url.href);
    // The user has followed another link meanwhile.
    if (navigation !== navigationCount) return;
    main.ariaBusy = "false";
    prefetched.href = "";
    // After a redirect or an error, a full page load shows the sign-in or the error page.
    if (html === null) {
      location.assign(url);
      return;
    }
    if (addToHistory) history.pushState({}, "", url);
    replaceMain(new DOMParser().parseFromString(html, "text/html"), url);
  }

  document.addEventListener("click", (event) => {
    const opensElsewhere = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button;
    const link = opensElsewhere || event.defaultPrevented ? null : frameworkLink(event.target);
    if (!link) return;
    event.preventDefault();
    navigate(new URL(link.href), { addToHistory: true });
  });

  document.addEventListener("case:item-selected", () => { currentPath = locationPath(); });

  addEventListener("popstate", () => {
    // Only the fragment of the URL has changed.
    if (locationPath() === currentPath) return;
    if (FRAMEWORK_PAGE.test(location.pathname)) navigate(new URL(location.href), { addToHistory: false });
    else location.reload();
  });
})();
