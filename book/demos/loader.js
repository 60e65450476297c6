// Figures that move: finds their elements in a page, and starts each one when it is scrolled to. Pages are opened from
// disk, where fetch and modules are blocked and classic scripts load; so a figure's numbers come as a script, too.
(() => {
  "use strict";
  const folder = new URL(".", document.currentScript.src).href;
  const asked = {}, figures = {}, numbers = {};

  function load(file) {
    asked[file] ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = folder + file;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${file} cannot be loaded`));
      document.head.append(script);
    });
    return asked[file];
  }

  // What the scripts of the figures call: figure(name, {needs, state, begin}), data(name, numbers).
  window.fcddDemos = {
    figure(name, made) { figures[name] = made; },
    data(name, value) { numbers[name] = value; },
    numbers,
  };

  async function start(root) {
    const name = root.dataset.demo;
    try {
      await Promise.all(["kit.js", `${name}.js`, `${name}.data.js`].map(load));
      const { needs = [], state, begin } = figures[name];
      await Promise.all(needs.map(load));
      const demo = window.fcddDemos.kit(root, name, numbers[name], state);
      begin(demo);
      demo.set({}, false);
      root.classList.add("live"); // from now on the still is for paper
    } catch (error) {
      root.querySelector(".stage").textContent = `This figure could not start: ${error.message}.`;
      throw error;
    }
  }

  const all = document.querySelectorAll(".demo[data-demo]");
  const observer = new IntersectionObserver((seen) => {
    for (const { target } of seen.filter((entry) => entry.isIntersecting)) {
      observer.unobserve(target);
      start(target);
    }
  }, { rootMargin: "200px" });
  all.forEach((root) => observer.observe(root));
  const linked = [...all].find((root) => location.hash.startsWith(`#${root.id}?`));
  linked?.scrollIntoView(); // an address that holds the state of a figure leads to it
})();
