"use strict";
// The tree of a framework: lines are opened in place, and the keyboard moves through them as the
// tree pattern of ARIA says. Without this script every line is a link that does the same.

(() => {
  let tree = null;
  let panel = null;
  let loaded = 0;

  const lines = () => [...tree.querySelectorAll("[role=treeitem]")].filter((one) => one.offsetParent);
  const group = (line) => line.parentElement.querySelector(":scope > [role=group]");
  const isOpen = (line) => line.getAttribute("aria-expanded") === "true";
  const above = (line) => line.parentElement.parentElement.closest("li")?.querySelector("a");

  async function part(url) {
    const answer = await fetch(url, { headers: { "X-Fragment": "1" } });
    // Led elsewhere, or refused: the whole page says why.
    if (answer.redirected || !answer.ok) {
      location.assign(url);
      return null;
    }
    return answer.text();
  }

  function only(line) {
    for (const one of tree.querySelectorAll("[tabindex='0']")) one.tabIndex = -1;
    line.tabIndex = 0;
  }

  function prepare(root) {
    for (const line of root.querySelectorAll("[role=treeitem]")) line.tabIndex = -1;
  }

  function go(line) {
    if (!line) return;
    only(line);
    line.focus();
    line.scrollIntoView({ block: "nearest" });
  }

  async function open(line) {
    if (!line.hasAttribute("aria-expanded") || isOpen(line) || line.ariaBusy === "true") return;
    let below = group(line);
    if (!below) {
      line.ariaBusy = "true";
      const html = await part(line.dataset.below);
      line.ariaBusy = "false";
      if (html === null) return;
      below = document.createElement("ul");
      below.setAttribute("role", "group");
      loaded += 1;
      below.id = `loaded-${loaded}`;
      below.innerHTML = html;
      prepare(below);
      line.after(below);
      line.setAttribute("aria-owns", below.id);
    }
    below.hidden = false;
    line.setAttribute("aria-expanded", "true");
  }

  function close(line) {
    const below = group(line);
    if (!below) return;
    below.hidden = true;
    line.setAttribute("aria-expanded", "false");
    if (below.contains(document.activeElement)) go(line);
  }

  const toggle = (line) => (isOpen(line) ? close(line) : open(line));

  async function more(line) {
    const html = await part(line.href);
    if (html === null) return;
    const place = line.parentElement;
    const list = document.createElement("ul");
    list.innerHTML = html;
    prepare(list);
    const first = list.querySelector("[role=treeitem]");
    place.replaceWith(...list.children);
    go(first);
  }

  function mark(line) {
    for (const one of tree.querySelectorAll("[aria-selected]")) {
      one.removeAttribute("aria-selected");
      one.removeAttribute("aria-current");
    }
    line?.setAttribute("aria-selected", "true");
    line?.setAttribute("aria-current", "page");
  }

  async function show(url) {
    const html = await part(url);
    if (html === null) return false;
    panel.innerHTML = html;
    panel.scrollTop = 0;
    const heading = panel.querySelector("h1");
    if (heading) document.title = `${heading.textContent.trim()} · case-server`;
    document.dispatchEvent(new CustomEvent("shown", { detail: panel }));
    return true;
  }

  async function choose(line) {
    if (!panel) {
      location.assign(line.href);
      return;
    }
    only(line);
    mark(line);
    open(line);
    if (await show(line.href)) {
      history.pushState({}, "", line.href);
      document.dispatchEvent(new CustomEvent("chosen"));
      if (panel.getBoundingClientRect().bottom < 80) panel.scrollIntoView();
    }
  }

  document.addEventListener("click", (event) => {
    const line = event.target.closest("[role=tree] [role=treeitem]");
    if (!line || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if ("more" in line.dataset) more(line);
    else if (event.target.closest(".twisty") && line.hasAttribute("aria-expanded")) {
      go(line);
      toggle(line);
    } else choose(line);
  });

  function beginning(line, key) {
    const all = lines();
    const from = all.indexOf(line) + 1;
    const starts = (one) => one.querySelector(".words")?.textContent.trim().toLowerCase().startsWith(key);
    return [...all.slice(from), ...all.slice(0, from)].find(starts);
  }

  const keys = {
    ArrowDown: (line) => go(lines()[lines().indexOf(line) + 1]),
    ArrowUp: (line) => go(lines()[lines().indexOf(line) - 1]),
    Home: () => go(lines()[0]),
    End: () => go(lines().at(-1)),
    ArrowRight: (line) => (isOpen(line) ? go(group(line).querySelector("a")) : open(line)),
    ArrowLeft: (line) => (isOpen(line) ? close(line) : go(above(line))),
    Enter: (line) => line.click(),
    " ": (line) => line.click(),
  };

  document.addEventListener("keydown", (event) => {
    const line = event.target.closest("[role=tree] [role=treeitem]");
    if (!line || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key];
    if (act) act(line);
    else if (/^\S$/u.test(event.key)) go(beginning(line, event.key.toLowerCase()));
    else return;
    event.preventDefault();
  });

  function begin() {
    tree = document.querySelector("[role=tree]");
    panel = document.getElementById("panel");
    if (!tree) return;
    prepare(tree);
    const selected = tree.querySelector("[aria-selected]") ?? tree.querySelector("[role=treeitem]");
    if (!selected) return;
    selected.tabIndex = 0;
    // On a narrow page the item stands above the tree, and is what was asked for.
    const beside = panel && panel.getBoundingClientRect().left > tree.getBoundingClientRect().right;
    if (beside && selected.hasAttribute("aria-selected")) selected.scrollIntoView({ block: "center" });
  }

  document.addEventListener("visited", begin);
  begin();
})();
