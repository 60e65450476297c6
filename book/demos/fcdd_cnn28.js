// FCDD_CNN28, the whole detector. A picture of 28 x 28 numbers in [0, 1] goes in; score, map and heatmap come out.
// A layer is {kernel, weights: [out][in][k * k], biases: [out]}; batch normalisation is folded into the first one.
window.fcddDemos.cnn28 = (picture, { layers, shift, scale, field, sigma }) => {
  const convolve = (planes, size, { kernel, weights, biases }) => weights.map((of, o) => {
    const out = new Float64Array(size * size).fill(biases[o]), half = (kernel - 1) / 2;
    planes.forEach((plane, i) => of[i].forEach((weight, k) => {
      const dy = Math.floor(k / kernel) - half, dx = k % kernel - half; // beyond the border all is 0
      for (let y = Math.max(0, -dy); y < Math.min(size, size - dy); y++) {
        for (let x = Math.max(0, -dx); x < Math.min(size, size - dx); x++) {
          out[y * size + x] += weight * plane[(y + dy) * size + x + dx];
        }
      }
    }));
    return out;
  });
  const leaky = (planes) => planes.map((plane) => plane.map((z) => (z > 0 ? z : 0.01 * z)));
  const pool = (planes, size) => planes.map((plane) => Float64Array.from({ length: size * size / 4 }, (_, i) => {
    const corner = 2 * Math.floor(i / (size / 2)) * size + 2 * (i % (size / 2));
    return Math.max(plane[corner], plane[corner + 1], plane[corner + size], plane[corner + size + 1]);
  }));

  const x = [Float64Array.from(picture, (value) => (value - shift) / scale)];
  const first = pool(leaky(convolve(x, 28, layers[0])), 28);
  const second = pool(convolve(first, 14, layers[1]), 14);
  const [outputs] = convolve(second, 7, layers[2]);
  const map = outputs.map((z) => Math.sqrt(z * z + 1) - 1);
  const score = map.reduce((sum, a) => sum + a) / map.length;

  // A Gaussian where each pixel of the map looks, as high as the map is there. Of the field's 16 pixels none is in the
  // middle: that of 15 is doubled, and all is halved.
  const first_tap = Math.floor(field.offset) - Math.floor((field.extent - 1) / 2);
  const place = (pixel, cell) => {
    const tap = pixel - first_tap - field.stride * cell, away = tap - 7 - (tap > 7);
    return tap < 0 || tap >= field.extent ? 0 : Math.exp(-away * away / (2 * sigma * sigma)) / 2;
  };
  const heat = Float64Array.from({ length: 784 }, (_, i) => {
    let sum = 0;
    for (let row = 0; row < 7; row++) {
      const high = place(Math.floor(i / 28), row);
      for (let column = 0; high && column < 7; column++) sum += high * place(i % 28, column) * map[7 * row + column];
    }
    return sum;
  });
  return { score, map, heat };
};
