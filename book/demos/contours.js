// Level lines of a function in the plane, by marching squares, as paths on axes. Plain loops over numbers: they run in
// each frame of a drag, before the browser has had time to make much of them.
(() => {
  "use strict";
  const short = (pixel) => Math.round(10 * pixel) / 10;

  // The function f(x, y) at count x count places, spread over the axes, row by row.
  function grid(plot, count, f) {
    const spread = ([low, high]) => Array.from({ length: count }, (_, i) => low + (high - low) * i / (count - 1));
    const xs = spread(plot.x.range), ys = spread(plot.y.range), values = new Float64Array(count * count);
    for (let j = 0; j < count; j++) for (let i = 0; i < count; i++) values[j * count + i] = f(xs[i], ys[j]);
    return { us: xs.map(plot.px), vs: ys.map(plot.py), values, count };
  }

  function lines({ us, vs, values, count }, level) {
    let path = "", met = 0;
    const add = (u, v) => { path += `${met++ % 2 ? "L" : "M"}${short(u)} ${short(v)}`; };
    for (let j = 0; j + 1 < count; j++) {
      for (let i = 0; i + 1 < count; i++) {
        const k = j * count + i, a = values[k], b = values[k + 1], c = values[k + count + 1], d = values[k + count];
        const over = (a > level) + (b > level) + (c > level) + (d > level);
        if (over === 0 || over === 4) continue;
        const u = us[i], v = vs[j], wide = us[i + 1] - u, high = vs[j + 1] - v;
        if (a > level !== b > level) add(u + wide * (level - a) / (b - a), v);
        if (b > level !== c > level) add(u + wide, v + high * (level - b) / (c - b));
        if (d > level !== c > level) add(u + wide * (level - d) / (c - d), v + high);
        if (a > level !== d > level) add(u, v + high * (level - a) / (d - a));
      }
    }
    return path;
  }

  // What lies below the level, as strips, one for each row of the grid.
  function inside({ us, vs, values, count }, level) {
    const high = short(Math.abs(vs[1] - vs[0]));
    let path = "";
    for (let j = 0; j < count; j++) {
      const row = j * count, top = short(vs[j] - high / 2);
      let from = values[row] <= level ? us[0] : NaN;
      for (let i = 0; i < count; i++) {
        const a = values[row + i], b = i + 1 < count ? values[row + i + 1] : Infinity; // the edge ends what is open
        if (a > level === b > level) continue;
        const met = us[i] + (b < Infinity ? (us[i + 1] - us[i]) * (level - a) / (b - a) : 0);
        if (a <= level) path += `M${short(from)} ${top}H${short(met)}v${high}H${short(from)}Z`;
        from = met;
      }
    }
    return path;
  }

  window.fcddDemos.contours = { grid, lines, inside };
})();
