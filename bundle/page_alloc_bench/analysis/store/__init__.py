# SPDX-License-Identifier: GPL-2.0-only
"""A store: a directory with a Parquet file for each run, by release and host.

    STORE/store.json                                the version of the format
    STORE/runs/release=R/host=H/RUN.parquet         a run, written aside and renamed
    STORE/index/NAME.parquet                        figures of many runs; made anew if it is lost

Any number of programs may add to it at a time, and rsync may copy it: a file is put there whole,
and replaced only as a whole.
"""
