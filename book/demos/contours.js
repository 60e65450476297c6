// Level lines of a function in the plane, by marching squares, as paths on axes.
(() => {
  "use strict";

  // The function at count x count places, spread over the axes.
  function grid(plot, count, f) {
    const spread = ([low, high]) => Array.from({ length: count }, (_, i) => low + (high - low) * i / (count - 1));
    const xs = spread(plot.x.range), ys = spread(plot.y.range);
    return { us: xs.map(plot.px), vs: ys.map(plot.py), values: ys.map((y) => xs.map((x) => f([x, y]))) };
  }

  // Where along the edge from value a to value b the level lies, as a share; NaN if it does not.
  const cut = (a, b, level) => ((a > level) === (b > level) ? NaN : (level - a) / (b - a));

  function lines({ us, vs, values }, level) {
    const parts = [];
    for (let j = 0; j + 1 < vs.length; j++) {
      for (let i = 0; i + 1 < us.length; i++) {
        const [a, b, c, d] = [values[j][i], values[j][i + 1], values[j + 1][i + 1], values[j + 1][i]];
        if (Math.min(a, b, c, d) > level || Math.max(a, b, c, d) <= level) continue;
        const wide = us[i + 1] - us[i], high = vs[j + 1] - vs[j];
        const met = [
          [us[i] + cut(a, b, level) * wide, vs[j]], [us[i + 1], vs[j] + cut(b, c, level) * high],
          [us[i] + cut(d, c, level) * wide, vs[j + 1]], [us[i], vs[j] + cut(a, d, level) * high],
        ].filter(([u, v]) => Number.isFinite(u + v)).map(([u, v]) => `${u.toFixed(1)} ${v.toFixed(1)}`);
        for (let k = 0; k + 1 < met.length; k += 2) parts.push(`M${met[k]}L${met[k + 1]}`);
      }
    }
    return parts.join("");
  }

  // What lies below the level, as strips, one for each row of the grid.
  function inside({ us, vs, values }, level) {
    const high = Math.abs(vs[1] - vs[0]).toFixed(2), parts = [];
    const strip = (from, to, top) => {
      parts.push(`M${from.toFixed(1)} ${top}H${to.toFixed(1)}v${high}H${from.toFixed(1)}Z`);
    };
    values.forEach((row, j) => {
      const top = (vs[j] - Number(high) / 2).toFixed(1);
      let from = row[0] <= level ? us[0] : NaN;
      for (let i = 0; i + 1 < us.length; i++) {
        const met = us[i] + cut(row[i], row[i + 1], level) * (us[i + 1] - us[i]);
        if (Number.isNaN(met)) continue;
        if (!Number.isNaN(from)) strip(from, met, top);
        from = Number.isNaN(from) ? met : NaN;
      }
      if (!Number.isNaN(from)) strip(from, us.at(-1), top);
    });
    return parts.join("");
  }

  window.fcddDemos.contours = { grid, lines, inside };
})();
