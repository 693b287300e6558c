"""Clips of every container and codec that PyAV writes, and the same clips truncated and with flipped bits."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.video.clip_writer import Encoding, encoded, flipped


@dataclass(frozen=True)
class Case:
    """One clip of the collection."""

    name: str
    """File name; unique."""
    write: Callable[[Path], Any]
    """Writes the file at the path."""
    intact: bool = True
    """Whether nothing is missing or damaged, so that the reader must not warn."""
    frames: int | None = None
    """Number of frames that the intact clip has; None if the plain decode decides."""
    turn: str = "upright"
    """Name of the display matrix."""
    stream: int | None = None
    """Index of the stream that FFmpeg's command line takes; None if there is only one video stream."""
    says: str = ""
    """A part of the warning, for a clip that is readable but not intact."""
    refused: str = ""
    """A part of the error, for a clip that is refused."""


X264 = Encoding()
FRAGMENTED = Encoding(muxing=(("movflags", "frag_keyframe+empty_moov"),))
FASTSTART = Encoding(muxing=(("movflags", "+faststart"),))
X265 = Encoding("libx265", options=(("x265-params", "log-level=none:pools=none:frame-threads=1"), ("preset", "fast")))
VP9 = Encoding("libvpx-vp9", options=(("deadline", "realtime"), ("cpu-used", "8")))
VP8 = Encoding("libvpx", options=(("deadline", "realtime"), ("cpu-used", "8")))
AV1 = Encoding("libsvtav1", options=(("preset", "12"),))
MPEG4 = Encoding("mpeg4", options=(("b", "3M"), ("bf", "2")))
MPEG2 = Encoding("mpeg2video", options=(("b", "4M"), ("bf", "2")))
MPEG1 = Encoding("mpeg1video", options=(("b", "4M"),))
MJPEG = Encoding("mjpeg", "yuvj420p", options=(("q", "3"),))

INTACT: dict[str, Encoding] = {
    "x264.mp4": X264,
    "x264_faststart.mp4": FASTSTART,
    "x264_fragmented.mp4": FRAGMENTED,
    "x264_audio.mp4": Encoding(audio=True),
    "x264.mov": X264,
    "x264.m4v": Encoding(format="ipod"),
    "x264.mkv": X264,
    "x264_audio.mkv": Encoding(audio=True),
    "x264.avi": Encoding(options=(("bf", "0"), ("crf", "10"))),
    "x264_audio.avi": Encoding(options=(("bf", "0"), ("crf", "10")), audio=True),
    "x264.ts": X264,
    "x264_audio.ts": Encoding(audio=True),
    "x264.m2ts": Encoding(muxing=(("mpegts_m2ts_mode", "1"),), format="mpegts"),
    "x264.flv": X264,
    "x264_audio.flv": Encoding(audio=True),
    "x264.nut": X264,
    "x264.h264": X264,
    "x264.3gp": X264,
    "x264_intra.mp4": Encoding(gop=1),
    "x264_long_gop.mp4": Encoding(gop=250),
    "x264_open_gop.mkv": Encoding(options=(("x264-params", "open-gop=1"), ("crf", "10"))),
    "x264_pyramid.mp4": Encoding(options=(("bf", "5"), ("b-pyramid", "normal"), ("crf", "10"))),
    "x264_interlaced.ts": Encoding(options=(("x264-params", "tff=1"), ("crf", "10"))),
    "x264_444.mp4": Encoding(pixels="yuv444p"),
    "x264_422.mkv": Encoding(pixels="yuv422p"),
    "x264_10bit.mp4": Encoding(pixels="yuv420p10le"),
    "x264_grey.mkv": Encoding(pixels="gray"),
    "x264_full_range.mp4": Encoding(pixels="yuvj420p"),
    "x264_lossless.mkv": Encoding("libx264rgb", "rgb24", options=(("qp", "0"),)),
    "x264_one_frame.mp4": Encoding(frames=1),
    "x264_two_frames.ts": Encoding(frames=2),
    "x264_slow_rate.mp4": Encoding(rate=1),
    "x264_fast_rate.mkv": Encoding(rate=240),
    "x265.mp4": X265,
    "x265.mkv": X265,
    "x265.ts": X265,
    "x265.hevc": X265,
    "x265_hdr.mp4": Encoding(
        "libx265",
        "yuv420p10le",
        options=(("x265-params", "log-level=none:pools=none:hdr10=1:colorprim=bt2020:transfer=smpte2084"),),
    ),
    "av1.mp4": AV1,
    "av1.webm": AV1,
    "av1.mkv": AV1,
    "av1.ivf": AV1,
    "av1.obu": AV1,
    "vp9.webm": VP9,
    "vp9.mp4": VP9,
    "vp9.ivf": VP9,
    "vp9_alt_ref.webm": Encoding(
        "libvpx-vp9", options=(("auto-alt-ref", "1"), ("lag-in-frames", "16"), ("cpu-used", "8"))
    ),
    "vp8.webm": VP8,
    "vp8.ivf": VP8,
    "mpeg4.mp4": MPEG4,
    "mpeg4.avi": Encoding("mpeg4", options=(("b", "3M"),)),
    "mpeg4_b_frames.avi": MPEG4,
    "mpeg4.mkv": MPEG4,
    "mpeg4.m4v": Encoding("mpeg4", format="m4v"),
    "mpeg2.mpg": MPEG2,
    "mpeg2.vob": MPEG2,
    "mpeg2.ts": MPEG2,
    "mpeg2.mkv": MPEG2,
    "mpeg2.mxf": Encoding("mpeg2video", options=(("b", "4M"),)),
    "mpeg2.m2v": MPEG2,
    "mpeg1.mpg": MPEG1,
    "mpeg1.m1v": MPEG1,
    "mjpeg.avi": MJPEG,
    "mjpeg.mov": MJPEG,
    "mjpeg.mkv": MJPEG,
    "mjpeg.mjpeg": MJPEG,
    "mjpeg_422.avi": Encoding("mjpeg", "yuvj422p"),
    "flv1.flv": Encoding("flv", options=(("b", "3M"),)),
    "h263.3gp": Encoding("h263", size=(176, 144), options=(("b", "2M"),)),
    "wmv2.wmv": Encoding("wmv2", options=(("b", "3M"),)),
    "wmv1.asf": Encoding("wmv1", options=(("b", "3M"),)),
    "rv10.rm": Encoding("rv10", size=(176, 144), options=(("b", "2M"),)),
    "prores.mov": Encoding("prores_ks", "yuv422p10le"),
    "prores_alpha.mov": Encoding("prores_ks", "yuva444p10le", options=(("profile", "4444"),)),
    "qtrle.mov": Encoding("qtrle", "rgb24"),
    "qtrle_alpha.mov": Encoding("qtrle", "argb"),
    "png.mov": Encoding("png", "rgb24"),
    "png_alpha.nut": Encoding("png", "rgba"),
    "v210.mov": Encoding("v210", "yuv422p10le"),
    "raw.mov": Encoding("rawvideo", "uyvy422"),
    "raw.avi": Encoding("rawvideo", "bgr24"),
    "raw.mkv": Encoding("rawvideo", "yuv420p"),
    "raw.nut": Encoding("rawvideo", "rgb24"),
    "raw.y4m": Encoding("wrapped_avframe", "yuv420p", format="yuv4mpegpipe"),
    "ffv1.mkv": Encoding("ffv1", "yuv420p"),
    "ffv1.avi": Encoding("ffv1", "bgr0"),
    "ffv1_16bit.mkv": Encoding("ffv1", "gray16le"),
    "huffyuv.avi": Encoding("huffyuv", "yuv422p"),
    "ffvhuff.avi": Encoding("ffvhuff", "yuv444p"),
    "utvideo.avi": Encoding("utvideo", "gbrp"),
    "magicyuv.avi": Encoding("magicyuv", "gbrp"),
    "cfhd.mov": Encoding("cfhd", "yuv422p10le"),
    "dnxhr.mov": Encoding("dnxhd", "yuv422p", size=(256, 128), options=(("profile", "dnxhr_hq"),)),
    "dv.dv": Encoding("dvvideo", "yuv420p", size=(720, 576), frames=5),
    "dv.avi": Encoding("dvvideo", "yuv420p", size=(720, 576), frames=5),
    "jpeg2000.mkv": Encoding("jpeg2000", "rgb24", options=(("pred", "1"),)),
    "snow.avi": Encoding("snow", "yuv420p"),
    "zmbv.avi": Encoding("zmbv", "bgr0"),
    "cinepak.avi": Encoding("cinepak", "rgb24"),
    "gif.gif": Encoding("gif", "rgb8"),
    "apng.apng": Encoding("apng", "rgb24"),
    "apng_alpha.png": Encoding("apng", "rgba", format="apng"),
    "jpegls.nut": Encoding("jpegls", "rgb24"),
    "picture.png": Encoding("png", "rgb24", frames=1, format="image2", muxing=(("update", "1"),)),
    "picture.jpg": Encoding("mjpeg", "yuvj420p", frames=1, format="image2", muxing=(("update", "1"),)),
    "picture.bmp": Encoding("bmp", "bgr24", frames=1, format="image2", muxing=(("update", "1"),)),
    "picture.tiff": Encoding("tiff", "rgb24", frames=1, format="image2", muxing=(("update", "1"),)),
    "picture.webp": Encoding("libwebp", "bgra", frames=1, format="webp"),
}
"""Encodings by file name."""


def bytes_case(name: str, data: Callable[[], bytes], **facts: Any) -> Case:
    return Case(name, lambda path: path.write_bytes(data()), **facts)


def intact_clips() -> list[Case]:
    """Returns one clip for each container and codec."""
    return [
        bytes_case(name, functools.partial(encoded, name.rsplit(".", 1)[1], how), frames=how.frames)
        for name, how in INTACT.items()
    ]


CUT = (
    "x264_faststart.mp4",
    "x264_fragmented.mp4",
    "x264.mkv",
    "x264_audio.mkv",
    "mpeg4.avi",
    "x264.ts",
    "x264.flv",
    "vp9.webm",
    "mpeg2.mpg",
    "mjpeg.avi",
    "ffv1.mkv",
    "gif.gif",
    "wmv2.wmv",
    "x264.nut",
    "x264.h264",
    "x265.ts",
    "av1.ivf",
    "apng.apng",
    "mpeg2.mxf",
)
"""Clips that are truncated and damaged."""


def truncated_clips(steps: int = 20) -> list[Case]:
    """Returns clips cut at every 1/steps of their length."""
    cases = []
    for name in CUT:
        suffix = name.rsplit(".", 1)[1]
        for step in range(1, steps):

            def cut(suffix: str = suffix, name: str = name, step: int = step) -> bytes:
                data = encoded(suffix, INTACT[name])
                return data[: len(data) * step // steps]

            cases.append(bytes_case(f"cut_{100 * step // steps:02}_{name}", cut, intact=False))
    return cases


def flipped_clips(seeds: int = 4) -> list[Case]:
    """Returns clips with flipped bits in the header (the first 4 %) and in the body."""
    cases = []
    for name in CUT:
        suffix = name.rsplit(".", 1)[1]
        for seed in range(seeds):
            for part, start, stop, bits in (("head", 0.0, 0.04, 2), ("body", 0.1, 0.95, 2 + 4 * seed)):

                def flip(
                    suffix: str = suffix,
                    name: str = name,
                    seed: int = seed,
                    start: float = start,
                    stop: float = stop,
                    bits: int = bits,
                ) -> bytes:
                    return flipped(encoded(suffix, INTACT[name]), seed, start, stop, bits)

                cases.append(bytes_case(f"flip_{part}_{seed}_{name}", flip, intact=False))
    return cases
