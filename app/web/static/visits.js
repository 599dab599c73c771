"use strict";
// The pages of a framework are shown in place: the next one is fetched and put where the last one
// was, so that the browser need not make all around it anew. Without this script links are links.

(() => {
  const IN_PLACE = /\/documents\//;
  const REST = 40;
  const SETTLED = 120;
  const FRESH = 5000;
  const main = document.getElementById("main");
  const place = () => location.pathname + location.search;
  let here = place();
  let asked = 0;
  let resting = 0;
  let ahead = { href: "", since: 0, page: null };

  // A link that leads to another page of a framework.
  function link(place) {
    const found = place.closest?.("a[href]");
    if (!found || found.target || found.hasAttribute("download")) return null;
    const there = found.origin === location.origin && IN_PLACE.test(found.pathname);
    return there && found.pathname + found.search !== here ? found : null;
  }

  async function page(href) {
    try {
      const answer = await fetch(href);
      return answer.ok && !answer.redirected ? await answer.text() : null;
    } catch {
      return null;
    }
  }

  function fetched(href) {
    const known = ahead.href === href && performance.now() - ahead.since < FRESH;
    if (!known) ahead = { href, since: performance.now(), page: page(href) };
    return ahead.page;
  }

  // What is found first is most often what is wanted, once nothing more is typed.
  document.addEventListener("found", (event) => {
    clearTimeout(resting);
    const first = event.detail.querySelector("a[href]");
    if (first && link(first)) resting = setTimeout(fetched, SETTLED, first.href);
  });

  // What somebody points at is fetched before it is asked for.
  for (const name of ["pointerover", "focusin"]) {
    document.addEventListener(name, (event) => {
      clearTimeout(resting);
      const found = link(event.target);
      if (found && !found.closest("[role=tree]")) resting = setTimeout(fetched, REST, found.href);
    });
  }

  function put(next, url) {
    const menu = document.querySelector(".top nav");
    menu.replaceWith(next.querySelector(".top nav"));
    main.replaceChildren(...next.getElementById("main").childNodes);
    document.title = next.title;
    document.getElementById("visited").textContent = next.title;
    const find = document.getElementById("find");
    find.value = "";
    document.getElementById("found").hidden = true;
    here = url.pathname + url.search;
    // As after any page: what is reached next is its beginning.
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
    document.dispatchEvent(new CustomEvent("visited"));
    document.dispatchEvent(new CustomEvent("shown", { detail: main }));
  }

  async function visit(url, { remember }) {
    asked += 1;
    const mine = asked;
    main.ariaBusy = "true";
    const html = await fetched(url.href);
    // Somebody went elsewhere meanwhile.
    if (mine !== asked) return;
    main.ariaBusy = "false";
    ahead.href = "";
    // Led elsewhere, or refused: the whole page says why.
    if (html === null) {
      location.assign(url);
      return;
    }
    if (remember) history.pushState({}, "", url);
    put(new DOMParser().parseFromString(html, "text/html"), url);
  }

  document.addEventListener("click", (event) => {
    const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button;
    const found = elsewhere || event.defaultPrevented ? null : link(event.target);
    if (!found) return;
    event.preventDefault();
    visit(new URL(found.href), { remember: true });
  });

  // A line of the tree was shown beside it.
  document.addEventListener("chosen", () => { here = place(); });

  addEventListener("popstate", () => {
    // A step to a part of the same page is none to another.
    if (place() === here) return;
    if (IN_PLACE.test(location.pathname)) visit(new URL(location.href), { remember: false });
    else location.reload();
  });
})();
