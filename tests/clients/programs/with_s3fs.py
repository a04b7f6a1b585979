from __future__ import annotations

import s3fs
import steps

files = s3fs.S3FileSystem(use_listings_cache=False)
steps.run(
    version=s3fs.__version__,
    write=lambda key, body: files.pipe_file(f"{steps.BUCKET}/{key}", body),
    read=lambda key: files.cat_file(f"{steps.BUCKET}/{key}"),
    names=lambda prefix: [name.removeprefix(f"{steps.BUCKET}/") for name in files.find(f"{steps.BUCKET}/{prefix}")],
    delete=lambda key: files.rm_file(f"{steps.BUCKET}/{key}"),
)
