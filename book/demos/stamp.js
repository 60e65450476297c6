// A mark moves over a picture: the score of the network that has seen it goes along, that of the other one less.
(() => {
  "use strict";
  const SIDE = 28, ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  window.fcddDemos.figure("stamp", {
    needs: ["fcdd_cnn28.js"],
    state: { picture: "another class 1", mark: 1, right: 0, down: 0 },
    begin(demo) {
      const { data, state } = demo, { cnn28, bytes } = window.fcddDemos;
      const pictures = {};
      for (const [name, text] of Object.entries(data.pictures)) {
        pictures[name] = Array.from(bytes(text), (grey) => grey / 255);
      }
      const inked = [...data.letters.keys()].filter((i) => data.letters[i] > 0);
      const columns = inked.map((i) => i % SIDE), rows = inked.map((i) => Math.floor(i / SIDE));
      const box = { x: Math.min(...columns), y: Math.min(...rows) };
      Object.assign(box, { width: Math.max(...columns) - box.x + 1, height: Math.max(...rows) - box.y + 1 });
      const place = (right, down) => ({
        mark: 1, right: demo.within(right, -box.x, SIDE - box.x - box.width),
        down: demo.within(down, -box.y, SIDE - box.y - box.height),
      });
      demo.known("picture", Object.keys(pictures));
      demo.buttons("Picture", Object.fromEntries(Object.keys(pictures).map((name) => [name, { picture: name }])));
      demo.buttons("Mark", {
        none: { mark: 0 }, "in its corner": place(0, 0), "in the middle": place(5, -9),
        "in the other corner": place(99, -99),
      });
      const left = demo.picture({
        columns: SIDE, rows: SIDE,
        label: "The picture with the mark. Drag it, or move it with the arrow keys; Space takes it off.",
        caption: "the picture: drag the mark",
      });
      const heats = Object.keys(data.networks).map((name) => demo.picture({
        columns: SIDE, rows: SIDE, label: `Heatmap of the network that ${name}.`,
        caption: `heatmap; this network ${name}`, colours: data.colours, top: data.top,
      }));
      Object.assign(left.frame.style, { touchAction: "none", cursor: "grab" });
      left.frame.setAttribute("tabindex", 0);
      left.frame.setAttribute("role", "application");
      let held = null;
      left.frame.addEventListener("pointerdown", (event) => {
        left.frame.setPointerCapture(event.pointerId);
        const [column, row] = left.at(event);
        held = [column - state.right, row - state.down];
      });
      left.frame.addEventListener("pointermove", (event) => {
        const [column, row] = left.at(event);
        if (held) demo.set(place(column - held[0], row - held[1]));
      });
      for (const end of ["pointerup", "pointercancel"]) left.frame.addEventListener(end, () => { held = null; });
      left.frame.addEventListener("keydown", (event) => {
        const step = ARROWS[event.key];
        if (!step && event.key !== " ") return;
        event.preventDefault();
        demo.set(step ? place(state.right + step[0], state.down + step[1]) : { mark: state.mark ? 0 : 1 });
      });

      // Letters blended into the picture, in the 256 steps of a file.
      function marked(picture, right, down) {
        const result = picture.slice();
        for (const i of inked) {
          const at = i + down * SIDE + right, cover = data.opacity * data.letters[i];
          result[at] = Math.round(255 * (picture[at] * (1 - cover) + cover)) / 255;
        }
        return result;
      }

      const before = {}; // scores without the mark, by picture and network
      demo.draw = () => {
        const { right, down } = place(Math.round(state.right), Math.round(state.down));
        const clean = pictures[state.picture];
        const shown = state.mark ? marked(clean, right, down) : clean;
        left.show(shown);
        demo.paint(left.over, state.mark
          ? [["rect", { ...box, x: box.x + right, y: box.y + down, class: "brush" }]] : []);
        const parts = Object.entries(data.networks).flatMap(([name, network], k) => {
          const { score, heat } = cnn28(shown, network);
          const unmarked = before[`${state.picture} ${k}`] ??= cnn28(clean, network).score;
          heats[k].show(heat);
          const [rest, ours] = data.medians[name];
          return [
            `${k ? " " : ""}The network that ${name}: score `, [name, score, score.toFixed(3)], `, without the mark `,
            [`${name}, before`, unmarked, unmarked.toFixed(3)],
            ` (medians: ${rest.toFixed(3)} for the rest, ${ours.toFixed(3)} for the class).`,
          ];
        });
        demo.tell(...parts);
      };
    },
  });
})();
