// The frames of a run: chunks are loaded as scripts when they are needed (this also works from disk), then decoded.
"use strict";
(() => {
  const P = globalThis.DWNetPlayer;
  const CHUNKS_KEPT = 8;
  const DECODED_BYTES = 250e6;
  const LEAST_DECODED = 6;

  // Parts that have arrived, and the functions that wait for parts, by "run/part".
  const arrived = new Map(), waiting = new Map();

  // Called by every data script: stores a part of a run's data.
  P.deliver = (run, part, content) => {
    const key = `${run}/${part}`;
    arrived.set(key, content);
    waiting.get(key)?.(content);
    waiting.delete(key);
  };

  function load(run, part, file) {
    const key = `${run.id}/${part}`;
    if (arrived.has(key)) return Promise.resolve(arrived.get(key));
    if (!file) return Promise.reject(new Error(`The page lacks its part "${part}". It is incomplete.`));
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      waiting.set(key, resolve);
      script.src = file;
      script.onload = () => script.remove();
      script.onerror = () => {
        script.remove();
        waiting.delete(key);
        reject(new Error(`The file ${decodeURIComponent(file).replace("./", "")} cannot be loaded. It must stay beside the page.`));
      };
      document.head.append(script);
    });
  }

  // Keeps the most recently used values of a map, at most `size`.
  class Recent {
    constructor(size, drop = () => {}) {
      this.size = size;
      this.drop = drop;
      this.map = new Map();
    }

    get(key, make) {
      let value = this.map.get(key);
      if (value === undefined) value = make();
      this.map.delete(key);
      this.map.set(key, value);
      while (this.map.size > this.size) {
        const [oldest, old] = this.map.entries().next().value;
        this.map.delete(oldest);
        this.drop(oldest, old);
      }
      return value;
    }

    forget(key) {
      this.map.delete(key);
    }
  }

  class Data {
    constructor(run) {
      this.run = run;
      const frame = run.width * run.height * (4 + 2 * run.methods.length) * 1.3;
      this.decoded = new Recent(Math.max(LEAST_DECODED, Math.min(64, Math.floor(DECODED_BYTES / frame))), (_, old) => {
        // A picture that is being painted must not be closed at once.
        old.then((found) => setTimeout(() => { found.image.close(); found.weight?.close(); }, 2000), () => {});
      });
      this.chunks = new Recent(CHUNKS_KEPT, (place) => {
        if (run.chunks[place].file) arrived.delete(`${run.id}/${place}`);
      });
      this.ready = new WeakSet();
      // Frames that may be decoded ahead without giving up the shown one.
      this.ahead = Math.min(6, this.decoded.size - 3);
    }

    numbers() {
      return load(this.run, "numbers", this.run.numbers);
    }

    // The encoded frame at a place among the stored frames.
    async encoded(place) {
      const index = this.run.chunks.findIndex((chunk) => place < chunk.first + chunk.count);
      const chunk = this.run.chunks[index];
      const pending = this.chunks.get(index, () => load(this.run, String(index), chunk.file));
      try {
        return (await pending)[place - chunk.first];
      } catch (error) {
        this.chunks.forget(index);
        throw error;
      }
    }

    frame(place) {
      const made = this.decoded.get(place, () => this.decode(place));
      made.then(() => this.ready.add(made), () => this.decoded.forget(place));
      return made;
    }

    // Whether a frame can be painted without waiting.
    has(place) {
      const made = this.decoded.map.get(place);
      return made !== undefined && this.ready.has(made);
    }

    async decode(place) {
      const found = await this.encoded(place);
      const png = async (data) => (data === null ? null : (await P.decodePng(P.bytesOf(data))).pixels);
      const [image, weight, labels, flips, coarse, refined] = await Promise.all([
        bitmap(found.i), found.w === null ? null : bitmap(found.w), Promise.all(found.l.map(png)),
        Promise.all(found.f.map(png)), flow(found.c), flow(found.r),
      ]);
      return { image, weight, labels, flips, coarse, refined };
    }
  }

  function bitmap(base64) {
    return createImageBitmap(new Blob([P.bytesOf(base64)], { type: "image/jpeg" }));
  }

  // Returns {width, height, dx, dy} in pixels of the frame; NaN where the flow is unknown.
  async function flow(stored) {
    if (stored === null) return null;
    const { width, height, pixels } = await P.decodePng(P.bytesOf(stored[1]));
    const values = Float32Array.from(pixels, (value) => (value ? (value - 128) * stored[0] : NaN));
    const size = width * (height / 2);
    return { width, height: height / 2, dx: values.subarray(0, size), dy: values.subarray(size) };
  }

  P.Data = Data;
})();
