// A threshold on heatmaps: what it covers of each defect, and what it raises false alarms at.
(() => {
  "use strict";
  const LIMIT = 0.3; // of the false-positive rate, up to where AUPRO is taken

  // Connected parts of a picture's true pixels, corners count as connected: lists of pixels.
  function regions(flags, size) {
    const seen = new Set(), found = [];
    flags.forEach((flag, start) => {
      if (!flag || seen.has(start)) return;
      const part = [start];
      seen.add(start);
      for (let k = 0; k < part.length; k++) {
        const row = Math.floor(part[k] / size), column = part[k] % size;
        for (let y = Math.max(0, row - 1); y <= Math.min(size - 1, row + 1); y++) {
          for (let x = Math.max(0, column - 1); x <= Math.min(size - 1, column + 1); x++) {
            const next = y * size + x;
            if (flags[next] && !seen.has(next)) { seen.add(next); part.push(next); }
          }
        }
      }
      found.push(part);
    });
    return found;
  }

  // The outline of true pixels, along their edges.
  function outline(flags, size) {
    const at = (x, y) => x >= 0 && y >= 0 && x < size && y < size && flags[y * size + x], parts = [];
    flags.forEach((flag, i) => {
      const x = i % size, y = Math.floor(i / size);
      if (!flag) return;
      if (!at(x, y - 1)) parts.push(`M${x} ${y}h1`);
      if (!at(x, y + 1)) parts.push(`M${x} ${y + 1}h1`);
      if (!at(x - 1, y)) parts.push(`M${x} ${y}v1`);
      if (!at(x + 1, y)) parts.push(`M${x + 1} ${y}v1`);
    });
    return parts.join("");
  }

  const squares = (pixels, size) => pixels.map((i) => `M${i % size} ${Math.floor(i / size)}h1v1h-1Z`).join("");
  const share = (values, level) => values.filter((value) => value > level).length / values.length;

  // Area below a curve up to a limit, by straight lines, as a share of the limit.
  function areaUpTo(curve, limit) {
    let area = 0;
    for (let k = 1; k < curve.length; k++) {
      const [[a, c], [b, d]] = [curve[k - 1], curve[k]], end = Math.min(b, limit);
      if (end <= a) continue;
      area += (end - a) * (c + (c + (d - c) * (end - a) / (b - a))) / 2;
    }
    return area / limit;
  }

  window.fcddDemos.figure("overlap", {
    state: { picture: "hole", level: -1 },
    begin(demo) {
      const { data, state } = demo, { size } = data, { bytes } = window.fcddDemos;
      const pictures = {};
      for (const [name, parts] of Object.entries(data.pictures)) {
        const [image, mask, heat] = ["image", "mask", "heat"].map((part) => Array.from(bytes(parts[part])));
        const shown = { image: image.map((grey) => grey / 255), mask: mask.map(Boolean), heat };
        pictures[name] = { ...shown, defects: regions(mask, size) };
      }
      const all = Object.values(pictures);
      const nominal = all.flatMap(({ mask, heat }) => heat.filter((_, i) => !mask[i]));
      const defects = all.flatMap(({ heat, defects: parts }) => parts.map((part) => part.map((i) => heat[i])));
      const rates = (level) => [
        share(nominal, level), defects.reduce((sum, values) => sum + share(values, level), 0) / defects.length,
      ];
      const curve = Array.from({ length: 257 }, (_, k) => rates(255 - k)), aupro = areaUpTo(curve, LIMIT);
      const levelOf = (rate) => {
        const away = curve.map(([x]) => Math.abs(x - rate));
        return demo.within(255 - away.indexOf(Math.min(...away)), 0, 254);
      };
      if (state.level < 0) state.level = levelOf(0.05);
      demo.known("picture", Object.keys(pictures));
      demo.buttons("Picture", Object.fromEntries(Object.keys(pictures).map((name) => [name, { picture: name }])));
      demo.buttons("Threshold", {
        "1 % false alarms": { level: levelOf(0.01) }, "5 %": { level: levelOf(0.05) }, "30 %": { level: levelOf(0.3) },
      });
      demo.slider({ key: "level", label: "threshold on the map, of 255 steps", min: 0, max: 254, step: 1 });
      const left = demo.picture({
        columns: size, rows: size, label: "The picture, its defects outlined, and what lies above the threshold.",
        caption: "the picture; defect outlined, above the threshold: found green, false alarms orange",
      });
      const right = demo.picture({
        columns: size, rows: size, label: "The heatmap, with the defects and the threshold as outlines.",
        caption: "its heatmap, in 255 steps; threshold dashed", colours: data.colours, top: 255,
      });
      const plot = demo.axes({
        width: 320, height: 290, x: { range: [0, 0.5], label: "false alarms: share of nominal pixels" },
        y: { range: [0, 1], label: "covered: mean over defects" },
      });
      demo.paint(plot.layer(), [
        ["rect", {
          class: "tint", x: plot.px(0), y: plot.py(1), width: plot.px(LIMIT) - plot.px(0),
          height: plot.py(0) - plot.py(1),
        }],
        ["path", { class: "line bold nominal", d: plot.path(curve) }],
      ]);
      const point = plot.layer();
      const ring = demo.drag(plot, {
        label: "False alarms against what is covered. Arrow keys move the threshold.", count: () => 1,
        at: () => rates(state.level),
        move: (_, x) => demo.set({ level: levelOf(x) }),
        // Along the curve, up and right, the threshold falls.
        step: (by, fine) => demo.set({ level: demo.within(state.level - (fine ? 1 : 5) * by, 0, 254) }),
      });

      demo.draw = () => {
        const { image, mask, heat, defects: parts } = pictures[state.picture], { level } = state;
        const above = heat.map((value) => value > level), pixels = [...heat.keys()].filter((i) => above[i]);
        left.show(image);
        right.show(heat);
        const defect = ["path", { class: "defect", d: outline(mask, size) }];
        demo.paint(left.over, [
          ["path", { class: "found", d: squares(pixels.filter((i) => mask[i]), size) }],
          ["path", { class: "alarm", d: squares(pixels.filter((i) => !mask[i]), size) }], defect,
        ]);
        demo.paint(right.over, [defect, ["path", { class: "level", d: outline(above, size) }]]);
        const [rate, covered] = rates(level);
        demo.paint(point, [["circle", { class: "handle", r: 7, cx: plot.px(rate), cy: plot.py(covered) }]]);
        ring();
        const percent = (part) => `${(100 * part).toFixed(1)} %`;
        const spots = regions(above, size).filter((part) => !part.some((i) => mask[i])).length;
        const each = parts.flatMap((part, k) => {
          const of = share(part.map((i) => heat[i]), level);
          return [k ? ", " : "", [`defect ${k + 1}`, of, percent(of)], ` of ${part.length} px`];
        });
        demo.tell(
          "In this picture the threshold ", ["level", level, String(level)], " covers ", ...each, " of its defect",
          parts.length > 1 ? "s" : "", " and raises ", ["spots", spots, String(spots)], " false spots. ",
          "Over all pictures: ", ["false", rate, percent(rate)], " of the nominal pixels are false alarms, ",
          ["covered", covered, percent(covered)], " of a defect is covered on average. ",
          "AUPRO up to 30 % false alarms (tinted): ",
          ["aupro", aupro, aupro.toFixed(3)], ".",
        );
      };
    },
  });
})();
