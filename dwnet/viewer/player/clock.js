// The one clock of a player: the shown place among the stored frames, play, speed, loop and range.
"use strict";
(() => {
  const P = globalThis.DWNetPlayer;

  class Clock {
    // `times` are the seconds of the stored frames. `show` is called with a place; it returns a promise.
    constructor(times, data, show) {
      Object.assign(this, { times, data, show });
      this.place = 0;
      this.speed = 1;
      this.loop = true;
      this.playing = false;
      this.onstate = () => {};
      this.setRange(0, times.length - 1);
    }

    setRange(first, last) {
      Object.assign(this, { first, last });
      if (this.playing) this.restart();
    }

    async seek(place) {
      this.place = Math.max(0, Math.min(this.times.length - 1, place));
      if (this.playing) this.restart();
      await this.show(this.place);
    }

    toggle() {
      if (this.playing) this.pause();
      else this.play();
    }

    play() {
      if (this.place >= this.last || this.place < this.first) this.place = this.first;
      this.playing = true;
      this.restart();
      this.onstate();
      const run = (this.run = Symbol("play"));
      requestAnimationFrame((now) => this.tick(now, run));
    }

    pause() {
      this.playing = false;
      this.onstate();
    }

    setSpeed(speed) {
      this.speed = speed;
      if (this.playing) this.restart();
    }

    restart() {
      this.started = { at: performance.now(), seconds: this.times[this.place] };
    }

    // Shows the frame that is due. While the next frame is not decoded, time stands still, so that no frame is skipped
    // because of loading.
    tick(now, run) {
      if (!this.playing || run !== this.run) return;
      const due = this.started.seconds + (this.speed * Math.max(0, now - this.started.at)) / 1000;
      for (let ahead = 1; ahead <= this.data.ahead; ahead++) {
        if (this.place + ahead <= this.last) this.data.frame(this.place + ahead).catch(() => {});
      }
      let next = this.place;
      while (next < this.last && this.times[next + 1] <= due) next++;
      if (next !== this.place) {
        while (next > this.place && !this.data.has(next)) next--;
        if (next === this.place) {
          this.restart();
        } else {
          this.place = next;
          this.show(next);
        }
      } else if (this.place >= this.last && due >= this.times[this.last] + this.lastDuration()) {
        if (!this.loop) return this.pause();
        this.place = this.first;
        this.restart();
        this.show(this.place);
      }
      requestAnimationFrame((later) => this.tick(later, run));
    }

    lastDuration() {
      return this.last > this.first ? (this.times[this.last] - this.times[this.first]) / (this.last - this.first) : 0.1;
    }
  }

  P.Clock = Clock;
})();
