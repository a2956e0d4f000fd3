# A volume by a user of 2011: boto 2 with signature version 2 over /services/Cloud. Run with what novarc exports, with an instance's id as argument.
# Checks as it goes and prints what it saw as one line of JSON.
import json
import os
import sys
import time
from urllib.parse import urlparse

from boto.ec2.connection import EC2Connection
from boto.ec2.regioninfo import RegionInfo
from boto.exception import EC2ResponseError

instance = sys.argv[1]
seen = {}


class SignedV2(EC2Connection):
    """Debian's boto 2.49 would sign by version 4; what was deployed in 2011 signs by version 2."""

    def _required_auth_capability(self):
        return ['ec2']


def connect():
    url = urlparse(os.environ['EC2_URL'])
    region = RegionInfo(name='nova', endpoint=url.hostname)
    return SignedV2(os.environ['EC2_ACCESS_KEY'], os.environ['EC2_SECRET_KEY'], is_secure=False, region=region, port=url.port, path=url.path)


def until(what, holds, seconds=90):
    end = time.time() + seconds
    while time.time() < end:
        if holds():
            return
        time.sleep(0.5)
    raise SystemExit('never: ' + what)


def refused(call):
    try:
        call()
    except EC2ResponseError as error:
        return '%s %s' % (error.status, error.error_code)
    return 'allowed'


ec2 = connect()
volume = ec2.create_volume(1, 'nova')
seen['created'] = [volume.status, volume.size, volume.zone]
until('available', lambda: volume.update() == 'available')
seen['attaching'] = volume.attach(instance, '/dev/sdh')
until('attached', lambda: volume.update() == 'in-use' and volume.attachment_state() == 'attached')
seen['attached'] = [volume.attach_data.device, volume.attach_data.instance_id == instance]
seen['in use'] = refused(volume.delete)
snapshot = volume.create_snapshot('by boto 2')
until('completed', lambda: snapshot.update() == '100%' and snapshot.status == 'completed')
seen['snapshot'] = [(found.description, found.volume_size) for found in ec2.get_all_snapshots([snapshot.id])]
volume.detach()
until('free', lambda: volume.update() == 'available')
volume.delete()
snapshot.delete()
until('gone', lambda: refused(lambda: ec2.get_all_volumes([volume.id])) != 'allowed')
seen['gone'] = [refused(lambda: ec2.get_all_volumes([volume.id])), refused(lambda: ec2.get_all_snapshots([snapshot.id]))]
print(json.dumps(seen))
