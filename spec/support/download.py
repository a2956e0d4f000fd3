"""download.py URL FILE PACE SECONDS: fetches into a file as somebody who reads PACE bytes a second, and who goes on where a connection broke off or was
silent for so many seconds, from then on as fast as he can. Prints a line `broken: why` for each such end. curl's --limit-rate lets its first megabytes pass."""
import http.client
import os
import sys
import time
from urllib.parse import urlsplit

url, path, pace, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
at = urlsplit(url)


def fetch(pace):
    """All that the file lacks, by one connection."""
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=seconds)
    with open(path, "ab", buffering=0) as file:
        connection.request("GET", at.path, headers={"Range": "bytes=%d-" % os.path.getsize(path)})
        response = connection.getresponse()
        if response.status not in (200, 206):
            raise OSError("answered %d" % response.status)
        started, arrived, wanted = time.monotonic(), 0, response.length
        while arrived < wanted:
            piece = response.read1(8192)
            if not piece:
                raise OSError("it ended %d bytes early" % (wanted - arrived))
            file.write(piece)
            arrived += len(piece)
            if pace:
                time.sleep(max(0, started + arrived / pace - time.monotonic()))


for attempt in range(200):
    try:
        fetch(0 if attempt else pace)
        break
    except (OSError, http.client.HTTPException) as error:
        print("broken: %r" % error, flush=True)
        time.sleep(0.2)
else:
    sys.exit(1)
