// What is wrong with the page as it is shown now: a list of sentences.
() => {
  const problems = [];
  const width = document.documentElement.clientWidth;
  const name = (el) => {
    const text = (el.textContent || "").trim().slice(0, 40);
    return `<${el.tagName.toLowerCase()} class="${el.className}"> ${JSON.stringify(text)}`;
  };
  const scrolls = (el) => /auto|scroll/.test(getComputedStyle(el).overflowX);
  const inScroller = (el) => {
    for (let up = el; up && up !== document.body; up = up.parentElement) if (scrolls(up)) return true;
    return false;
  };
  const shown = (el) => el.checkVisibility() && el.getClientRects().length > 0;

  // only code, tables and formulas may scroll sideways, each in a container of its own
  if (document.documentElement.scrollWidth > width) {
    problems.push(`the page is ${document.documentElement.scrollWidth} wide in ${width}`);
  }
  for (const el of document.querySelectorAll("main *")) {
    if (!shown(el)) continue;
    const box = el.getBoundingClientRect();
    if (box.width > 1 && box.right > width + 1 && !inScroller(el) && !el.closest("mjx-assistive-mml"))
      problems.push(`sticks out to ${Math.round(box.right)}: ${name(el)}`);
    if (scrolls(el) && el.scrollWidth > el.clientWidth + 1) {
      const wide = el.matches("pre, .math, mjx-container, table, .pst-scrollable-table-container") ||
        el.querySelector("pre, table, mjx-container, .sk-top-container");
      if (!wide && !el.matches("nav, nav *, .sidebar, .sidebar *")) problems.push(`scrolls sideways: ${name(el)}`);
    }
  }

  // nothing of a title is cut
  for (const el of document.querySelectorAll("h1, h2, h3, h4, .sphx-glr-thumbnail-title, .sd-card-title, .navbar-brand")) {
    if (shown(el) && el.scrollWidth > el.clientWidth + 1 && getComputedStyle(el).display !== "inline")
      problems.push(`cut title: ${name(el)}`);
  }

  // formulas are typeset
  const article = document.querySelector("article") || document.body;
  for (const el of article.querySelectorAll(".math")) {
    if (!el.querySelector("mjx-container")) problems.push(`not typeset: ${name(el)}`);
  }
  if (article.querySelector("mjx-merror")) problems.push("an error of MathJax");
  const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  const colors = new Set();
  const channels = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((c) => c / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (el) => {
    for (let up = el; up; up = up.parentElement) {
      const rgba = channels(getComputedStyle(up).backgroundColor);
      if (rgba.length === 3 || rgba[3] > 0.9) return rgba;
    }
    return [255, 255, 255];
  };
  while (walker.nextNode()) {
    const el = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || el.closest("script, style, mjx-container, kbd, .search-button__kbd-shortcut") || !shown(el)) continue;
    if (!el.closest("pre, code") && /\\[a-zA-Z]{2,}|\\[([]|\$\$/.test(text))
      problems.push(`raw TeX: ${JSON.stringify(text.slice(0, 60))}`);

    // text can be read: the contrast that WCAG's level AA asks for
    const front = getComputedStyle(el).color;
    const back = background(el);
    const key = `${front} on ${back}`;
    if (colors.has(key)) continue;
    colors.add(key);
    const [light, dark] = [luminance(channels(front)), luminance(back)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(1)}, ${key}: ${name(el)}`);
  }
  return problems;
}
