// What the pages of a site do besides showing links. It works from file://, so it fetches nothing:
// data comes in scripts that set DAYS (index), DATA and STORY (a camera's day).
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const clockOf = (seconds) => `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;

  function secondsOf(text) {
    const found = /^(\d{1,2})(?::(\d\d))?(?::(\d\d))?/.exec(text);
    return found ? Number(found[1]) * 3600 + Number(found[2] || 0) * 60 + Number(found[3] || 0) : null;
  }

  function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function sizeOf(bytes) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (bytes >= 999.5 && unit < 4) { bytes /= 1000; unit += 1; }
    return `${bytes.toFixed(unit === 0 || bytes >= 99.5 ? 0 : 1)} ${units[unit]}`;
  }

  // --- days ------------------------------------------------------------------------------------

  function nextDay(day, step) {
    const date = new Date(`${day}T00:00:00Z`);
    date.setUTCDate(date.getUTCDate() + step);
    return date.toISOString().slice(0, 10);
  }

  function* daysOf(folder) {
    for (const [first, count] of (window.DAYS[folder] || { days: [] }).days) {
      for (let each = first, left = count; left > 0; left -= 1, each = nextDay(each, 1)) yield each;
    }
  }

  function startIndex(form) {
    const { camera, day, time } = form.elements;
    const days = [...daysOf(camera.value)];
    day.value = days[days.length - 1] || "";
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const known = [...daysOf(camera.value)];
      const answer = form.querySelector("output");
      answer.textContent = "";
      const page = (each) => `cameras/${camera.value}/${each}.html${time.value ? `#t=${time.value}` : ""}`;
      if (known.includes(day.value)) {
        location.href = page(day.value);
        return;
      }
      const near = [known.filter((each) => each < day.value).pop(), known.find((each) => each > day.value)];
      const links = near.filter(Boolean).map((each) => element("a", { href: page(each), textContent: each }));
      answer.append("No clip on that day. ", ...(links.length ? ["Nearest: "] : []));
      links.forEach((link) => answer.append(link, " "));
    });
  }

  function linkNeighbours(nav) {
    const { folder, day } = nav.dataset;
    const known = [...daysOf(folder)];
    const before = known.filter((each) => each < day).pop();
    const after = known.find((each) => each > day);
    if (before) nav.append(element("a", { href: `${before}.html`, rel: "prev", textContent: `← ${before}` }));
    if (after) nav.append(element("a", { href: `${after}.html`, rel: "next", textContent: `${after} →` }));
  }

  // --- the clips of a day ----------------------------------------------------------------------

  class Clip {
    constructor(item, row, place, playable) {
      this.item = item;
      this.link = item.querySelector("a");
      this.start = secondsOf(item.id.slice(2));
      [this.seconds, this.before, this.after, this.notes, this.motion, this.strip] = row;
      this.place = place;
      this.src = playable || (this.link && this.link.href);
    }

    /** What the card says of it. */
    get words() { return this.notes.map((number) => window.DATA.words[number]); }

    /** Whether the clip shows a moment; one of unknown length may last an hour. */
    covers(moment) {
      return this.start <= moment && moment < this.start + Math.max(this.seconds === null ? 3600 : this.seconds, 1);
    }

    get path() {
      if (Array.isArray(this.place)) return `${window.DATA.folders[this.place[0]]}/${this.place[1]}`;
      return `${window.DATA.folders[this.place]}/${decodeURIComponent(this.link.pathname.split("/").pop())}`;
    }
  }

  class Player {
    constructor(clips) {
      this.clips = clips;
      this.video = byId("video");
      this.scrub = byId("scrub");
      this.current = -1;
      this.cursor = document.createElementNS("http://www.w3.org/2000/svg", "path");
      this.cursor.setAttribute("class", "now");
      document.querySelector("svg.day").append(this.cursor);
      byId("player").hidden = false;
      this.listen();
    }

    listen() {
      const { video, scrub } = this;
      byId("play").addEventListener("click", () => this.toggle());
      byId("before").addEventListener("click", () => this.step(-1));
      byId("after").addEventListener("click", () => this.step(1));
      byId("speed").addEventListener("change", () => this.setSpeed());
      byId("full").addEventListener("click", () => this.fullScreen());
      byId("at").addEventListener("change", (event) => this.goTo(secondsOf(event.target.value)));
      scrub.addEventListener("input", () => { video.currentTime = Number(scrub.value); this.show(); });
      video.addEventListener("click", () => this.toggle());
      video.addEventListener("timeupdate", () => this.show());
      video.addEventListener("seeked", () => this.remember());
      video.addEventListener("pause", () => { this.remember(); this.show(); });
      video.addEventListener("play", () => this.show());
      video.addEventListener("ended", () => { if (this.clips.slice(this.current + 1).some((clip) => clip.src)) this.step(1, true); });
      video.addEventListener("loadedmetadata", () => this.loaded());
      video.addEventListener("error", () => this.cannotPlay());
      document.addEventListener("keydown", (event) => this.key(event));
      window.addEventListener("hashchange", () => this.goToHash());
    }

    /** Show a clip; `at` is in seconds from its start. */
    choose(index, at = 0, play = false) {
      const clip = this.clips[index];
      if (!clip) return;
      if (index !== this.current) {
        if (this.current >= 0) this.clips[this.current].item.classList.remove("playing");
        clip.item.classList.add("playing");
        this.current = index;
        this.wanted = at;
        byId("trouble").hidden = true;
        this.drawMotion(clip);
        if (!clip.src) { this.hasNoCopy(clip); return; }
        this.video.src = clip.src;
      } else {
        this.video.currentTime = at;
      }
      if (play) this.video.play().catch(() => {});
      this.show();
    }

    loaded() {
      if (!this.video.videoWidth) { this.cannotPlay(); return; }
      this.scrub.max = this.video.duration || 1;
      if (this.wanted) this.video.currentTime = Math.min(this.wanted, Math.max(0, this.video.duration - 0.1));
      this.wanted = 0;
      this.setSpeed();
      this.show();
    }

    cannotPlay() {
      const clip = this.clips[this.current];
      if (!clip) return;
      this.video.pause();
      const open = element("a", { href: clip.link.href, textContent: "Open the file" });
      byId("trouble").replaceChildren(
        element("span", { textContent: "This browser can't play the clip: it is HEVC or of another format that "
          + "browsers lack. VLC and mpv play it." }), open, element("span", { textContent: clip.path }));
      byId("trouble").hidden = false;
    }

    /** Say why nothing is shown of a clip that was asked for by its time. */
    hasNoCopy(clip) {
      this.video.pause();
      this.video.removeAttribute("src");
      this.video.load();
      byId("trouble").replaceChildren(
        element("span", { textContent: `There is no copy of the clip of ${clockOf(clip.start)} here.` }),
        ...clip.words.map((words) => element("span", { textContent: words })));
      byId("trouble").hidden = false;
      this.show();
    }

    step(by, play = !this.video.paused) {
      let next = this.current + by;
      while (this.clips[next] && !this.clips[next].src) next += by;
      this.choose(this.clips[next] ? next : this.current, 0, play);
      if (this.current >= 0) this.clips[this.current].item.scrollIntoView({ block: "nearest" });
    }

    toggle() {
      if (this.current < 0) this.step(1, true);
      else if (this.video.paused) this.video.play().catch(() => {});
      else this.video.pause();
    }

    setSpeed() { this.video.playbackRate = Number(byId("speed").value); }

    fullScreen() {
      if (document.fullscreenElement) document.exitFullscreen();
      else (this.video.requestFullscreen || this.video.webkitEnterFullscreen).call(this.video);
    }

    /** Show the clip of a moment, in seconds since midnight: the one that covers it, or the next one. */
    goTo(moment, play = false) {
      if (moment === null) return;
      let index = this.clips.findLastIndex((clip) => clip.src && clip.covers(moment));
      if (index < 0) index = this.clips.findLastIndex((clip) => clip.covers(moment));
      if (index < 0) index = this.clips.findIndex((clip) => clip.start >= moment);
      if (index < 0) index = this.clips.length - 1;
      const clip = this.clips[index];
      const at = Math.max(moment - clip.start, 0);
      this.choose(index, clip.covers(moment) ? at : Math.min(at, clip.seconds || 0), play);
    }

    goToHash() {
      const found = /^#t=([\d:]+)/.exec(decodeURIComponent(location.hash));
      if (found) this.goTo(secondsOf(found[1]));
      return Boolean(found);
    }

    get moment() {
      if (this.current < 0) return 0;
      return this.clips[this.current].start + (this.video.currentTime || 0);
    }

    /** Keep the moment in the address, so that it can be passed on. */
    remember() {
      if (this.current >= 0) history.replaceState(null, "", `#t=${clockOf(this.moment)}`);
    }

    show() {
      const { video } = this;
      byId("play").classList.toggle("playing", !video.paused);
      byId("play").setAttribute("aria-label", video.paused ? "Play" : "Pause");
      if (this.current < 0) return;
      if (video.duration) this.scrub.value = video.currentTime;
      const length = video.duration || this.clips[this.current].seconds || 0;
      byId("clock").textContent = `${clockOf(this.moment)} (${Math.round(video.currentTime)} of ${Math.round(length)} s)`;
      this.scrub.setAttribute("aria-valuetext", clockOf(this.moment));
      this.cursor.setAttribute("d", `M${(this.moment / 60).toFixed(1)} 0v24`);
    }

    drawMotion(clip) {
      const spans = (clip.seconds && clip.motion) || [];
      byId("moving").replaceChildren(...spans.map(([begin, end]) => {
        const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        const scale = 1000 / clip.seconds;
        const shape = { class: "motion", x: begin * scale, width: Math.max((end - begin) * scale, 4), height: 4 };
        Object.entries(shape).forEach(([name, value]) => bar.setAttribute(name, value));
        return bar;
      }));
    }

    key(event) {
      const tag = event.target.tagName;
      if (event.ctrlKey || event.metaKey || event.altKey || (tag === "INPUT" && event.target !== this.scrub)) return;
      if (tag === "SELECT" || (event.key === " " && (tag === "BUTTON" || tag === "A"))) return;
      const { video } = this;
      const acts = {
        " ": () => this.toggle(),
        ArrowLeft: () => { video.currentTime = Math.max(0, video.currentTime - 5); },
        ArrowRight: () => { video.currentTime = Math.min(video.duration || 0, video.currentTime + 5); },
        ArrowUp: () => this.step(-1),
        ArrowDown: () => this.step(1),
        f: () => this.fullScreen(),
      };
      if (!acts[event.key]) return;
      event.preventDefault();
      acts[event.key]();
    }
  }

  // --- cards -----------------------------------------------------------------------------------

  function saving(clip) {
    if (!clip.after) return [];
    const saved = clip.before ? Math.round(100 - (100 * clip.after) / clip.before) : 0;
    const words = saved > 0 ? ` (${saved} % less)` : "";
    return [element("p", { className: "notes", textContent: `${sizeOf(clip.before)} → ${sizeOf(clip.after)}${words}` })];
  }

  function strip(clip, index, player) {
    if (!clip.strip) return [];
    const [width, height, ...times] = clip.strip;
    const name = clip.item.id.slice(2).replaceAll(":", "").replace(".", "-");
    const file = `pictures/${byId("days").dataset.day}/${name}.jpg`;
    const image = element("img", { src: file, alt: "", loading: "lazy", decoding: "async" });
    const button = element("button", { className: "strip", type: "button" }, image);
    button.setAttribute("aria-label", `Play from ${clip.link.textContent}`);
    button.style.aspectRatio = `${width} / ${height}`;
    image.style.width = `${times.length * 100}%`;
    let shown = 0;
    const show = (number) => {
      shown = Math.min(Math.max(number, 0), times.length - 1);
      image.style.transform = `translateX(${(-100 * shown) / times.length}%)`;
    };
    const follow = (event) => show(Math.floor((event.offsetX / button.clientWidth) * times.length));
    image.style.pointerEvents = "none";
    button.addEventListener("pointermove", follow);
    button.addEventListener("pointerleave", () => show(0));
    button.addEventListener("click", () => player.choose(index, times[shown] || 0, true));
    return [button];
  }

  function copy(text, button) {
    const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy path"; }, 2000); };
    if (navigator.clipboard) { navigator.clipboard.writeText(text).then(done, () => {}); return; }
    const field = element("textarea", { value: text });
    document.body.append(field);
    field.select();
    if (document.execCommand("copy")) done();
    field.remove();
  }

  let stories = null;
  function loadStories(day) {
    stories ||= new Promise((resolve, reject) => {
      document.head.append(element("script", { src: `${day}.story.js`, onload: () => resolve(window.STORY), onerror: reject }));
    });
    return stories;
  }

  function storyButton(clip, index) {
    const button = element("button", { type: "button", textContent: "Journal" });
    button.setAttribute("aria-expanded", "false");
    let list = null;
    button.addEventListener("click", async () => {
      if (list) {
        list.hidden = !list.hidden;
      } else {
        const told = await loadStories(byId("days").dataset.day);
        const lines = told.stories[index].map(([when, number]) => element("li", {}, element("time", { textContent: when }),
          ` ${told.words[number].replaceAll("\u0001", told.names[index])}`));
        list = element("ol", { className: "story" }, ...(lines.length ? lines : ["The journal says nothing of it."]));
        clip.item.append(list);
      }
      button.setAttribute("aria-expanded", String(!list.hidden));
    });
    return button;
  }

  function enrich(clip, index, player) {
    const notes = clip.words.map((words) => element("p", { className: "notes", textContent: words }));
    if (!clip.link) {
      clip.item.append(...notes, element("div", { className: "buttons" }, storyButton(clip, index)));
      return;
    }
    const play = element("button", { type: "button", textContent: "Play" });
    play.addEventListener("click", () => player.choose(index, 0, true));
    const path = element("button", { type: "button", textContent: "Copy path" });
    path.addEventListener("click", () => copy(clip.path, path));
    clip.item.append(
      ...strip(clip, index, player), ...saving(clip), ...notes,
      element("div", { className: "buttons" }, play, storyButton(clip, index), path));
    clip.link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      player.choose(index, 0, true);
    });
  }

  function startDay() {
    const items = [...document.querySelectorAll(".clips > li")];
    const clips = items.map((item, index) => new Clip(
      item, window.DATA.clips[index], window.DATA.places[index], (window.DATA.playable || {})[index]));
    const player = new Player(clips);
    const number = new Map(items.map((item, index) => [item, index]));
    const watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        enrich(clips[number.get(target)], number.get(target), player);
      }
    }, { rootMargin: "600px" });
    items.forEach((item) => watcher.observe(item));
    // On paper there are all cards, also those that were never scrolled to.
    window.addEventListener("beforeprint", () => {
      watcher.disconnect();
      items.forEach((item, index) => {
        if (!item.querySelector(".buttons")) enrich(clips[index], index, player);
        item.querySelectorAll("img").forEach((image) => { image.loading = "eager"; });
      });
    });
    const first = clips.findIndex((clip) => clip.src);
    byId("player").hidden = first < 0;
    if (!player.goToHash() && first >= 0) player.choose(first);
  }

  if (byId("go") && window.DAYS) startIndex(byId("go"));
  if (byId("days") && window.DAYS) linkNeighbours(byId("days"));
  if (byId("clips") && window.DATA) startDay();
})();
