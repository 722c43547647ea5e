"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg", ROW = 25, PREFIXES = ["", "k", "M", "G", "T", "P", "E"];
  const tip = document.getElementById("tip");

  const scaled = (value, unit) => {
    if (unit === "s") {
      const [factor, name] = value >= 1 ? [1, "s"] : value >= 1e-3 ? [1e3, "ms"] : [1e6, "µs"];
      return `${(value * factor).toPrecision(4)} ${name}`;
    }
    let index = 0;
    while (value >= 999.95 && index < PREFIXES.length - 1) { value /= 1000; index += 1; }
    const digits = index === 0 && Number.isInteger(value) ? value : value.toFixed(value < 99.995 ? 2 : 1);
    return `${digits} ${PREFIXES[index]}${unit}`.trim();
  };

  const show = (text, event) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), gap = 14;
    const left = Math.min(event.clientX + gap, innerWidth - box.width - 6);
    const under = event.clientY + gap;
    const top = under + box.height > innerHeight ? event.clientY - box.height - gap : under;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, top)}px`;
  };
  const hide = () => { tip.hidden = true; };

  // The tree of an icicle: each node with its parent, children and values.
  const buildTree = (data) => {
    const nodes = data.nodes.map(([depth, name, role, type, ...values]) =>
      ({ depth, name, role, type: data.types[type], values, children: [], parent: null }));
    const ancestors = [];
    nodes.forEach((node, number) => {
      node.number = number;
      ancestors.length = node.depth;
      if (node.depth) { node.parent = ancestors[node.depth - 1]; node.parent.children.push(node); }
      ancestors.push(node);
    });
    return nodes;
  };

  const pathTo = (node) => { const path = []; for (let at = node; at; at = at.parent) path.unshift(at); return path; };

  const icicle = (figure) => {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const nodes = buildTree(data), svg = figure.querySelector("svg.drawing"), controls = figure.querySelector(".controls");
    let measure = 0, root = nodes[0], drawnAt = 0;

    const make = (name, attributes, text) => {
      const mark = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) mark.setAttribute(key, value);
      if (text !== undefined) mark.textContent = text;
      return mark;
    };

    const draw = () => {
      const width = Math.max(280, figure.clientWidth), marks = [];
      let deepest = 0;
      const put = (node, x, scale, row) => {
        const wide = node.values[measure] * scale;
        if (wide < 0.35) return;
        deepest = Math.max(deepest, row);
        const at = { x: x.toFixed(1), y: row * ROW, width: wide.toFixed(1), height: ROW };
        marks.push(make("rect", { ...at, class: `cell ${node.role}`, "data-n": node.number }));
        const letters = Math.floor((wide - 8) / 6.4);
        if (letters >= 3) {
          const text = node.name.length > letters ? `${node.name.slice(0, letters - 1)}…` : node.name;
          marks.push(make("text", { x: (x + 4).toFixed(1), y: row * ROW + 16.5, class: "small" }, text));
        }
        for (const child of node.children) { put(child, x, scale, row + 1); x += child.values[measure] * scale; }
      };
      const above = pathTo(root).slice(0, -1);
      above.forEach((node, row) => {
        marks.push(make("rect", { x: 0, y: row * ROW, width, height: ROW, class: "cell container", "data-n": node.number }));
        marks.push(make("text", { x: 4, y: row * ROW + 16.5, class: "small" }, node.name));
      });
      deepest = above.length;
      if (root.values[measure] > 0) put(root, 0, width / root.values[measure], above.length);
      svg.setAttribute("viewBox", `0 0 ${width} ${(deepest + 1) * ROW}`);
      svg.setAttribute("width", width);
      svg.setAttribute("height", (deepest + 1) * ROW);
      svg.replaceChildren(...marks);
      drawnAt = figure.clientWidth;
      updateControls();
    };

    const buttons = data.measures.map(([key, title], index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = title;
      button.dataset.measure = key;
      button.addEventListener("click", () => { measure = index; if (!(root.values[measure] > 0)) root = nodes[0]; draw(); });
      return button;
    });
    const breadcrumbs = document.createElement("span");
    breadcrumbs.className = "breadcrumbs";
    breadcrumbs.setAttribute("aria-live", "polite");

    const updateControls = () => {
      buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(index === measure)));
      const parts = [];
      for (const node of pathTo(root)) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = node.name;
        button.addEventListener("click", () => zoom(node));
        parts.push(button, "›");
      }
      parts.pop();
      const unit = data.measures[measure][2];
      breadcrumbs.replaceChildren(...parts, ` ${scaled(root.values[measure], unit)} ${root === nodes[0] ? "" : `· ${share(root)}`}`);
    };

    const share = (node) => {
      const total = nodes[0].values[measure];
      return total > 0 ? `${(100 * node.values[measure] / total).toFixed(1)}% of ${data.measures[measure][1]}` : "";
    };
    const zoom = (node) => { root = node; hide(); draw(); };

    const describe = (node) => {
      const path = pathTo(node).map((each) => each.name).slice(1).join(".") || node.name;
      const values = data.measures.map(([, title, unit], index) => `${title}: ${scaled(node.values[index], unit)}`);
      return [`${path}  ·  ${node.type}`, share(node), ...values].join("\n");
    };
    const at = (event) => {
      const number = event.target instanceof Element ? event.target.getAttribute("data-n") : null;
      return number === null ? null : nodes[Number(number)];
    };
    svg.addEventListener("click", (event) => {
      const node = at(event);
      if (node) zoom(node === root && node.parent ? node.parent : node);
    });
    svg.addEventListener("pointermove", (event) => { const node = at(event); if (node) show(describe(node), event); else hide(); });
    svg.addEventListener("pointerleave", hide);
    figure.addEventListener("keydown", (event) => { if (event.key === "Escape" && root.parent) zoom(root.parent); });
    controls.append(...buttons, breadcrumbs);
    controls.hidden = false;
    new ResizeObserver(() => { if (figure.clientWidth !== drawnAt) draw(); }).observe(figure);
    draw();
  };
  document.querySelectorAll("figure.zoomable").forEach(icicle);

  // A block of the architecture opens its diagram and closes the open one.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a.block") : null;
    if (!link) return;
    const details = document.getElementById(link.getAttribute("href").slice(1));
    if (!details) return;
    event.preventDefault();
    const opens = !details.open;
    details.parentElement.querySelectorAll("details[open]").forEach((each) => { each.open = false; });
    details.open = opens;
    if (opens) details.scrollIntoView({ block: "nearest" });
  });

  // Show hints of other drawings at once: browsers show <title> late, phones never.
  document.querySelectorAll("figure.plain svg.drawing").forEach((svg) => {
    svg.addEventListener("pointermove", (event) => {
      const mark = event.target instanceof Element ? event.target.closest("a, g, circle, rect, path") : null;
      const holder = mark && (mark.querySelector(":scope > title") ? mark : mark.parentElement.closest("a, g"));
      const title = holder && holder.querySelector(":scope > title");
      if (title) show(title.textContent.replaceAll(" · ", "\n"), event); else hide();
    });
    svg.addEventListener("pointerleave", hide);
  });

  // Open everything for printing.
  const opened = [];
  addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach((each) => { each.open = true; opened.push(each); }));
  addEventListener("afterprint", () => { opened.splice(0).forEach((each) => { each.open = false; }); });
})();
