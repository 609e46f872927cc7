#!/usr/bin/env python3
"""Made the seeds gif, mp4, mov, mp3, flac and wav of corpus/media, with common programs, and with the word PLANTED in the places
for metadata that they offer:

    python3 -m venv /tmp/seeds && /tmp/seeds/bin/pip install Pillow==13.0.0 imageio-ffmpeg==0.8.1
    /tmp/seeds/bin/python fuzz/media_seeds.py

Another version of a program makes other bytes."""

import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
from PIL import Image, PngImagePlugin

HOME = Path(__file__).parent / "corpus" / "media"
WORD = "PLANTED"


def gif():
    def frame(shift):
        picture = Image.new("RGB", (24, 16))
        picture.putdata([(x * 10, y * 15, (x * y + shift) % 256) for y in range(16) for x in range(24)])
        return picture.quantize(16)

    frame(0).save(
        HOME / "gif",
        "GIF",
        save_all=True,
        append_images=[frame(90)],
        duration=200,
        loop=0,
        comment=f"{WORD} by a person".encode(),
    )


def ffmpeg(name, *arguments):
    tags = {
        "title": WORD,
        "artist": f"{WORD} artist",
        "comment": f"{WORD} comment",
        "date": "2021-02-03",
        "location": f"+52.5200+013.4050/{WORD}",
        "creation_time": "2021-02-03T04:05:06Z",
    }
    metadata = [one for key, value in tags.items() for one in ("-metadata", f"{key}={value}")]
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-v", "error", "-y", *arguments, *metadata, str(HOME / name)]
    subprocess.run(command, check=True)


FILM = ["-f", "lavfi", "-i", "testsrc=size=48x32:rate=8:duration=0.75"]
SOUND = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=16000:duration=0.75"]
H264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "40", "-c:a", "aac", "-b:a", "16k"]
NAMES = ["-metadata:s:v", f"handler_name={WORD} camera", "-metadata:s:a", f"handler_name={WORD} microphone"]


def main():
    gif()
    with tempfile.TemporaryDirectory() as scratch:
        cover = Path(scratch) / "cover.png"
        note = PngImagePlugin.PngInfo()
        note.add_text("Author", WORD)
        Image.new("RGB", (4, 4), (200, 30, 30)).save(cover, pnginfo=note)
        with_cover = ["-i", str(cover), "-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v", "attached_pic"]
        ffmpeg("mp4", *FILM, *SOUND, *H264, *NAMES, "-movflags", "+faststart", "-f", "mp4")
        ffmpeg("mov", *FILM, *SOUND, *H264, *NAMES, "-movflags", "use_metadata_tags", "-f", "mov")
        ffmpeg("mp3", *SOUND, *with_cover, "-c:a", "libmp3lame", "-b:a", "24k", "-write_id3v1", "1", "-f", "mp3")
        ffmpeg("flac", *SOUND, *with_cover, "-ar", "8000", "-sample_fmt", "s16", "-c:a", "flac", "-f", "flac")
        ffmpeg("wav", *SOUND, "-ar", "8000", "-c:a", "pcm_u8", "-f", "wav")


main()
