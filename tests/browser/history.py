"""A long history without its work: copies of one ended job, written to the queue's file."""
import contextlib
import json
import pathlib
import sqlite3

DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def job_id(ms):
    """As IdOf of jobs/sqlite_queue.cc: ten digits that sort as the time does."""
    return "".join(DIGITS[ms >> shift & 31] for shift in range(45, -1, -5))


def copy_newest_job(data_dir, num_rows):
    """`num_rows` more jobs as the newest ended one, a minute apart, older than it. The server is down."""
    with contextlib.closing(sqlite3.connect(pathlib.Path(data_dir) / "queue.sqlite")) as database:
        cursor = database.execute("SELECT * FROM jobs WHERE state = 'done' ORDER BY id DESC LIMIT 1")
        names = [column[0] for column in cursor.description]
        row = dict(zip(names, cursor.fetchone()))
        copies, job = [], json.loads(row["job"])
        for idx in range(num_rows):
            accepted, prompt = row["accepted"] - 60 * (idx + 1), f"{row['prompt']} {idx}"
            copies.append({**row, "id": job_id(int(accepted * 1000)), "idempotency_key": None,
                           "prompt": prompt, "job": json.dumps({**job, "prompt": prompt}),
                           "accepted": accepted, "started": accepted, "finished": accepted})
        database.executemany("INSERT INTO jobs VALUES ({})".format(", ".join(f":{n}" for n in names)),
                             copies)
        database.commit()
