"""What the shop has done in the background: sluice imports it with --jobs examples.shop.functions."""

import time

from service.jobs import Context, job


@job(retries=2, timeout=600)
def transcode(video: str, seconds: float, context: Context) -> dict[str, str]:
    """Do as if a video was transcoded, a hundredth at a time."""
    for done in range(100):
        if context.cancelled:
            break
        time.sleep(seconds / 100)
        context.progress(done + 1, 100, "percent")
        if done % 25 == 0:
            print(f"pass {done // 25 + 1} of {video}")
    return {"video": f"{video.rpartition('.')[0]}.webm"}
