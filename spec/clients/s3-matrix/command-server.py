# Runs commands of clients that are written in Python, each in a child of this process, which has loaded their modules: the child is what the command
# would be, without the second that loading takes. A line in: {"program", "arguments", "environment"}; a line out: {"code", "stdout", "stderr"}.
# First argument: the program, second: modules to load, separated by commas.
import gc
import importlib
import json
import os
import sys
import tempfile
import traceback

program, modules = sys.argv[1], sys.argv[2].split(',')
for module in modules:
    importlib.import_module(module)
with open(program, encoding='utf-8') as source:
    code = compile(source.read(), program, 'exec')
gc.freeze()  # what children share, they need not look at


def become(asked, out, err):
    """In the child: never returns."""
    status = 1
    try:
        os.dup2(os.open('/dev/null', os.O_RDONLY), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        os.environ.update(asked['environment'])
        sys.argv = [program, *asked['arguments']]
        exec(code, {'__name__': '__main__', '__file__': program})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status & 255)


for line in sys.stdin:
    asked = json.loads(line)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            become(asked, out, err)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        print(json.dumps({'code': os.waitstatus_to_exitcode(status), 'stdout': out.read().decode('utf-8', 'replace'),
                          'stderr': err.read().decode('utf-8', 'replace')}), flush=True)
