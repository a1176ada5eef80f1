"""Writing video with transparency, whole or not at all: VP9 (WebM), which browsers play, and ProRes 4444 (MOV)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import OutputError, UsageError, VideoError
from vis.video.container import open_container, video_stream
from vis.video.mp4 import container_options
from vis.video.options import DEFAULT_LIMITS, VideoLimits
from vis.video.picture_writer import AtomicVideoOutput, PictureWriter

__all__ = ["AlphaVideoWriter", "ProResWriter", "read_alpha"]


class AlphaVideoWriter(PictureWriter):
    """A WebM file of RGBA pictures: VP9 (yuv420p, BT.709) with an alpha plane that is coded without loss, no sound.

    ``size`` is (height, width), odd ones too. ``fps`` and ``pts_seconds`` are as of
    :class:`vis.video.VideoWriter`, but WebM keeps times to the millisecond only. Alpha is straight (not
    premultiplied) with its full range, 0 clear and 255 opaque, and reads back to the bit. Colours are coded at half
    its resolution and blur across its edge, so keep the picture's own colours under the clear pixels; blackened
    ones leave a dark rim.

    ``quality`` is VP9's constant quality, 0 (best) to 63. ``speed`` 0 (slowest) to 8.

    As :class:`vis.video.VideoWriter`: whole or not at all, read back and counted; use it in a ``with`` block.
    Raises :class:`OutputError` when this PyAV has no VP9 encoder.
    """

    channels = 4

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: Fraction | float,
        *,
        quality: int = 24,
        speed: int = 6,
        expected_frames: int | None = None,
    ) -> None:
        import av

        super().__init__(path, size, fps)
        if not 0 <= quality <= 63 or not 0 <= speed <= 8:
            raise UsageError(f"expected quality 0 to 63 and speed 0 to 8, got {quality} and {speed}")
        if "libvpx-vp9" not in av.codecs_available:
            raise OutputError(
                "this build of PyAV has no VP9 encoder; install PyAV's own wheel: pip install av"
            )
        self._file = AtomicVideoOutput(self.path, format="webm", size=size, expected_frames=expected_frames)
        with self._file.guarded():
            # Every frame is stored when it comes: pictures and their alpha stay in step.
            always = {"deadline": "realtime", "cpu-used": str(speed), "b": "0", "row-mt": "1"}
            always |= {"auto-alt-ref": "0", "lag-in-frames": "0"}
            stream = self._file.container.add_stream(
                "libvpx-vp9", rate=self._timestamps.fps, options={**always, "crf": str(quality)}
            )
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = self._timestamps.time_base
            stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
            stream.codec_context.colorspace = stream.codec_context.color_range = 1  # BT.709, limited
            stream.metadata["alpha_mode"] = "1"  # what players look for
            self._stream = stream
            self._alpha: Any = av.CodecContext.create("libvpx-vp9", "w")
            self._alpha.height, self._alpha.width = size
            self._alpha.pix_fmt, self._alpha.time_base = "yuv420p", self._timestamps.time_base
            self._alpha.framerate = self._timestamps.fps
            self._alpha.options = {**always, "lossless": "1"}

    def _encode(self, image: NDArray[np.uint8], tick: int) -> None:
        import av

        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:, :, :3]), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="itu709", dst_color_range="MPEG")
        # Grey of full range has alpha for its luma as it is: no conversion touches it.
        alpha = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:, :, 3]), format="gray")
        alpha = alpha.reformat(format="yuv420p", src_color_range="JPEG", dst_color_range="JPEG")
        for frame in (picture, alpha):
            frame.pts, frame.time_base = tick, self._timestamps.time_base
        self._mux(self._stream.encode(picture), self._alpha.encode(alpha))

    def _empty(self) -> None:
        self._mux(self._stream.encode(None), self._alpha.encode(None))

    def _mux(self, packets: list[Any], alphas: list[Any]) -> None:
        """Both encoders give one packet per picture; that of alpha travels beside the other, as block addition 1."""
        from av.packet import PacketSideData, packet_sidedata_type_from_literal

        kind = packet_sidedata_type_from_literal("matroska_block_additional")
        for packet, alpha in zip(packets, alphas, strict=True):
            data = (1).to_bytes(8, "big") + bytes(alpha)
            beside = PacketSideData(kind, len(data))  # type: ignore[call-arg]  # PyAV's stubs leave it out
            beside.update(data)
            beside.to_packet(packet)
            self._file.container.mux(packet)


class ProResWriter(PictureWriter):
    """A MOV file of RGBA pictures for editing programs: ProRes 4444 (10 bits, BT.709), no sound.

    ``size``, ``fps``, ``pts_seconds`` and alpha are as of :class:`AlphaVideoWriter`; alpha of 0 and 255 stays so, and
    between them it is right to one level. Raises :class:`OutputError`
    when this PyAV has no ProRes encoder.
    """

    channels = 4

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: Fraction | float,
        *,
        expected_frames: int | None = None,
    ) -> None:
        import av

        super().__init__(path, size, fps)
        if "prores_ks" not in av.codecs_available:
            raise OutputError(
                "this build of PyAV has no ProRes encoder; install PyAV's own wheel (pip install av), or write WebM "
                "or PNG instead"
            )
        self._file = AtomicVideoOutput(
            self.path,
            format="mov",
            options=container_options(self._timestamps),
            size=size,
            expected_frames=expected_frames,
        )
        with self._file.guarded():
            options = {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}
            stream = self._file.container.add_stream("prores_ks", rate=self._timestamps.fps, options=options)
            stream.height, stream.width = size
            stream.pix_fmt = "yuva444p10le"
            stream.time_base = stream.codec_context.time_base = self._timestamps.time_base
            stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
            stream.codec_context.colorspace = stream.codec_context.color_range = 1  # BT.709, limited
            self._stream = stream

    def _encode(self, image: NDArray[np.uint8], tick: int) -> None:
        import av

        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgba")
        # One thread: swscale's slices write into each other's alpha here and leave stray pixels where they meet.
        picture = picture.reformat(
            format="yuva444p10le", dst_colorspace="itu709", dst_color_range="MPEG", threads=1
        )
        picture.pts, picture.time_base = tick, self._timestamps.time_base
        self._file.container.mux(self._stream.encode(picture))

    def _empty(self) -> None:
        self._file.container.mux(self._stream.encode(None))


def read_alpha(
    path: str | Path, *, limits: VideoLimits = DEFAULT_LIMITS
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """``(pts_seconds, RGBA uint8 (H, W, 4))`` of each frame of a VP9 WebM file with transparency.

    FFmpeg's own VP9 decoder, which :class:`vis.video.VideoReader` uses, drops the alpha plane; this is
    libvpx's. Raises :class:`VideoError` when the file is no VP9 video or has no alpha.
    """
    import av
    from av.error import FFmpegError

    path = Path(path)
    with open_container(path, limits) as container:
        stream = video_stream(path, container, limits)
        if stream.codec_context.name != "vp9":
            raise VideoError(
                f"{path}: its codec is {stream.codec_context.name}; expected VP9 with transparency"
            )
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        count = 0
        try:
            for packet in container.demux(stream):
                for picture in decoder.decode(packet if packet.size else None):
                    limits.check_frame(str(path), picture.height, picture.width)
                    count += 1
                    limits.check_length(
                        str(path),
                        count,
                        float(picture.pts * stream.time_base),
                        picture.height * picture.width,
                    )
                    if picture.format.name != "yuva420p":
                        raise VideoError(f"{path}: has no alpha plane; read it with vis.video.VideoReader")
                    # The alpha plane as it is: swscale's conversion of it to RGBA differs from run to run.
                    height, width, plane = picture.height, picture.width, picture.planes[3]
                    alpha = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[
                        :height, :width
                    ]
                    image = np.asarray(np.dstack((picture.to_ndarray(format="rgb24"), alpha)), np.uint8)
                    yield float(picture.pts * stream.time_base), image
        except FFmpegError as error:
            raise VideoError(f"{path}: does not decode after frame {count - 1} ({error.strerror})") from error
