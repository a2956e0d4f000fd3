# What the cells of boto and boto3 share: a cell is a function with the name of its row; `run` runs all, one after the other, and prints a line for each:
# {"cell", "error"}. Around them, a plain HTTP client, and the world that the spec has made, by the environment.
import http.client
import json
import os
import sys
import traceback
import urllib.parse

port = int(os.environ['S3_PORT'])
key, secret = os.environ['KEY'], os.environ['SECRET']
other_key, other_secret, other_id = os.environ['OTHER_KEY'], os.environ['OTHER_SECRET'], os.environ['OTHER_ID']
client = os.environ['CLIENT']
only_v2, only_v4, foreign = os.environ['ONLY_V2'], os.environ['ONLY_V4'], os.environ['FOREIGN']
odd_keys = json.loads(os.environ['ODD_KEYS'])
part_size = 5 << 20
origin = 'http://example.com'


def content(name):
    with open(os.path.join(os.environ['FILES'], name), 'rb') as file:
        return file.read()


small, large = content('small'), content('large')
cells = {}
made = 0


def cell(name):
    def keep(function):
        cells[name] = function
        return function
    return keep


def fresh():
    """The name of a bucket that nobody has."""
    global made
    made += 1
    return '%s-%d' % (client, made)


def raises(kind, work):
    """The error that must come."""
    try:
        work()
    except kind as error:
        return error
    raise AssertionError('no error')


def equal(found, wanted):
    assert found == wanted, 'found %r, wanted %r' % (found, wanted)


def plain(method, path, body=None, headers=None):
    """(status, headers, body) for a plain HTTP client; `path` may be a whole address."""
    split = urllib.parse.urlsplit(path)
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    try:
        connection.request(method, split.path + ('?' + split.query if split.query else ''), body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def preflight(bucket):
    return plain('OPTIONS', '/%s/key' % bucket, None, {'Origin': origin, 'Access-Control-Request-Method': 'GET'})[0]


def changed(url):
    """The address with another signature."""
    return url.replace('Signature=', 'Signature=A', 1)


def form(fields, file):
    """(content type, body) of a form, as browsers send it."""
    lines = []
    for name, value in fields.items():
        lines += [b'--edge', ('Content-Disposition: form-data; name="%s"' % name).encode(), b'', value.encode()]
    lines += [b'--edge', b'Content-Disposition: form-data; name="file"; filename="f"', b'', file, b'--edge--', b'']
    return 'multipart/form-data; boundary=edge', b'\r\n'.join(lines)


def run():
    for name, work in cells.items():
        error = None
        try:
            work()
        except Exception:
            error = traceback.format_exc()
        sys.stdout.write(json.dumps({'cell': name, 'error': error}) + '\n')
        sys.stdout.flush()
