"use strict";
// The pages of a framework are shown in place: the next one is fetched and put where the last one
// was, so that the browser need not make all around it anew. Without this script links are links.

(() => {
  const IN_PLACE = /^\/documents\//;
  const main = document.getElementById("main");
  const place = () => location.pathname + location.search;
  let here = place();
  let asked = 0;

  // A link that leads to another page of a framework, followed in this window.
  function link(event) {
    const found = event.target.closest("a[href]");
    if (!found || found.target || found.hasAttribute("download")) return null;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button) return null;
    const there = found.origin === location.origin && IN_PLACE.test(found.pathname);
    return there && found.pathname + found.search !== here ? found : null;
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
    try {
      const answer = await fetch(url);
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      // Somebody went elsewhere meanwhile.
      if (mine !== asked) return;
      // Led elsewhere, or refused: the whole page says why.
      if (answer.redirected || !answer.ok) location.assign(url);
      else {
        if (remember) history.pushState({}, "", url);
        put(next, url);
      }
    } catch {
      if (mine === asked) location.assign(url);
    } finally {
      if (mine === asked) main.ariaBusy = "false";
    }
  }

  document.addEventListener("click", (event) => {
    const found = event.defaultPrevented ? null : link(event);
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
