"use strict";
// Expands nodes of the tree in place, shows items next to it, and moves through it with the keyboard
// as the tree view pattern of ARIA describes. Without this script, every node is a link.

(() => {
  let tree = null;
  let panel = null;
  let groupCount = 0;

  const visibleNodes = () =>
    [...tree.querySelectorAll("[role=treeitem]")].filter((node) => node.offsetParent);
  const childGroup = (node) => node.parentElement.querySelector(":scope > [role=group]");
  const isExpanded = (node) => node.getAttribute("aria-expanded") === "true";
  const parentNode = (node) => node.parentElement.parentElement.closest("li")?.querySelector("a");

  async function fetchFragment(url) {
    const response = await fetch(url, { headers: { "X-Fragment": "1" } });
    // After a redirect or an error, a full page load shows the sign-in or the error page.
    if (response.redirected || !response.ok) {
      location.assign(url);
      return null;
    }
    return response.text();
  }

  // Only one node of a tree is in the tab order (roving tabindex).
  function makeTabStop(node) {
    for (const other of tree.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
    node.tabIndex = 0;
  }

  function removeFromTabOrder(root) {
    for (const node of root.querySelectorAll("[role=treeitem]")) node.tabIndex = -1;
  }

  function focus(node) {
    if (!node) return;
    makeTabStop(node);
    node.focus();
    node.scrollIntoView({ block: "nearest" });
  }

  async function expand(node) {
    if (!node.hasAttribute("aria-expanded") || isExpanded(node) || node.ariaBusy === "true") return;
    let group = childGroup(node);
    if (!group) {
      node.ariaBusy = "true";
      const html = await fetchFragment(node.dataset.children);
      node.ariaBusy = "false";
      if (html === null) return;
      group = document.createElement("ul");
      group.setAttribute("role", "group");
      groupCount += 1;
      group.id = `group-${groupCount}`;
      group.innerHTML = html;
      removeFromTabOrder(group);
      node.after(group);
      node.setAttribute("aria-owns", group.id);
    }
    group.hidden = false;
    node.setAttribute("aria-expanded", "true");
  }

  function collapse(node) {
    const group = childGroup(node);
    if (!group) return;
    group.hidden = true;
    node.setAttribute("aria-expanded", "false");
    if (group.contains(document.activeElement)) focus(node);
  }

  const toggle = (node) => (isExpanded(node) ? collapse(node) : expand(node));

  async function loadMore(link) {
    const html = await fetchFragment(link.href);
    if (html === null) return;
    const list = document.createElement("ul");
    list.innerHTML = html;
    removeFromTabOrder(list);
    const first = list.querySelector("[role=treeitem]");
    link.parentElement.replaceWith(...list.children);
    focus(first);
  }

  function markSelected(node) {
    for (const other of tree.querySelectorAll("[aria-selected]")) {
      other.removeAttribute("aria-selected");
      other.removeAttribute("aria-current");
    }
    node.setAttribute("aria-selected", "true");
    node.setAttribute("aria-current", "page");
  }

  async function showItem(url) {
    const html = await fetchFragment(url);
    if (html === null) return false;
    panel.innerHTML = html;
    panel.scrollTop = 0;
    const heading = panel.querySelector("h1");
    if (heading) document.title = `${heading.textContent.trim()} · case-server`;
    document.dispatchEvent(new CustomEvent("case:content-replaced", { detail: panel }));
    return true;
  }

  async function select(node) {
    if (!panel) {
      location.assign(node.href);
      return;
    }
    makeTabStop(node);
    markSelected(node);
    expand(node);
    if (await showItem(node.href)) {
      history.pushState({}, "", node.href);
      document.dispatchEvent(new CustomEvent("case:item-selected"));
      if (panel.getBoundingClientRect().bottom < 80) panel.scrollIntoView();
    }
  }

  document.addEventListener("click", (event) => {
    const node = event.target.closest("[role=tree] [role=treeitem]");
    if (!node || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if ("more" in node.dataset) loadMore(node);
    else if (event.target.closest(".twisty") && node.hasAttribute("aria-expanded")) {
      focus(node);
      toggle(node);
    } else select(node);
  });

  // Return the next node whose text starts with a character.
  function findByCharacter(node, character) {
    const nodes = visibleNodes();
    const next = nodes.indexOf(node) + 1;
    const matches = (other) =>
      other.querySelector(".words")?.textContent.trim().toLowerCase().startsWith(character);
    return [...nodes.slice(next), ...nodes.slice(0, next)].find(matches);
  }

  const keyHandlers = {
    ArrowDown: (node) => focus(visibleNodes()[visibleNodes().indexOf(node) + 1]),
    ArrowUp: (node) => focus(visibleNodes()[visibleNodes().indexOf(node) - 1]),
    Home: () => focus(visibleNodes()[0]),
    End: () => focus(visibleNodes().at(-1)),
    ArrowRight: (node) =>
      (isExpanded(node) ? focus(childGroup(node).querySelector("a")) : expand(node)),
    ArrowLeft: (node) => (isExpanded(node) ? collapse(node) : focus(parentNode(node))),
    Enter: (node) => node.click(),
    " ": (node) => node.click(),
  };

  document.addEventListener("keydown", (event) => {
    const node = event.target.closest("[role=tree] [role=treeitem]");
    if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
    const handle = keyHandlers[event.key];
    if (handle) handle(node);
    else if (/^\S$/u.test(event.key)) focus(findByCharacter(node, event.key.toLowerCase()));
    else return;
    event.preventDefault();
  });

  function initialize() {
    tree = document.querySelector("[role=tree]");
    panel = document.getElementById("panel");
    if (!tree) return;
    removeFromTabOrder(tree);
    const selected = tree.querySelector("[aria-selected]") ?? tree.querySelector("[role=treeitem]");
    if (!selected) return;
    selected.tabIndex = 0;
    // On a narrow screen the item is above the tree and must stay in view.
    const isBeside = panel && panel.getBoundingClientRect().left > tree.getBoundingClientRect().right;
    if (isBeside && selected.hasAttribute("aria-selected")) selected.scrollIntoView({ block: "center" });
  }

  document.addEventListener("case:navigated", initialize);
  initialize();
})();
