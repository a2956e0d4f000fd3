# The story of a user of 2011: boto 2 with signature version 2 over /services/Cloud, and boto 2's S3. Run with what novarc exports, in a
# folder for keys, with the folder of the image's parts and the key that signs bundles as arguments. Checks as it goes and prints what it saw as
# one line of JSON.
import json
import os
import subprocess
import sys
import time
from urllib.parse import urlparse

import boto
from boto.ec2.connection import EC2Connection
from boto.ec2.regioninfo import RegionInfo
from boto.exception import EC2ResponseError, S3ResponseError
from boto.s3.connection import OrdinaryCallingFormat, S3Connection

from bundle import bundle

parts_folder, signing_key = sys.argv[1:3]
seen = {'boto': boto.Version}


class SignedV2(EC2Connection):
    """Debian's boto 2.49 would sign by version 4; what was deployed in 2011 signs by version 2."""

    def _required_auth_capability(self):
        return ['ec2']


def until(what, holds, seconds=90):
    end = time.time() + seconds
    while time.time() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.2)
    raise SystemExit('never: ' + what)


def refused(call, kind=EC2ResponseError):
    try:
        call()
    except kind as error:
        return '%s %s' % (error.status, error.error_code)
    return 'allowed'


def connect():
    url = urlparse(os.environ['EC2_URL'])
    region = RegionInfo(name='nova', endpoint=url.hostname)
    return SignedV2(os.environ['EC2_ACCESS_KEY'], os.environ['EC2_SECRET_KEY'], is_secure=False, region=region, port=url.port, path=url.path)


def connect_s3():
    url = urlparse(os.environ['S3_URL'])
    return S3Connection(os.environ['EC2_ACCESS_KEY'], os.environ['EC2_SECRET_KEY'], is_secure=False, host=url.hostname, port=url.port,
                        calling_format=OrdinaryCallingFormat())


def upload():
    bucket = connect_s3().create_bucket('classic')
    for name in ('vmlinuz', 'initrd.gz', 'root.ext4'):
        bucket.new_key('parts/' + name).set_contents_from_filename(os.path.join(parts_folder, name))
    key = bucket.new_key('odd/ü + %2F&?.txt')
    key.set_metadata('colour', 'green')
    key.set_contents_from_string('content')
    again = bucket.get_key('odd/ü + %2F&?.txt')
    assert again.get_contents_as_string() == b'content' and again.get_metadata('colour') == 'green'
    again.delete()
    seen['listed'] = [key.name for key in bucket.list(prefix='parts/')]
    seen['noSuchKey'] = refused(lambda: bucket.new_key('absent').get_contents_as_string(), S3ResponseError)
    return bucket


def upload_bundle(bucket, file, kind, ids=''):
    names = bundle(os.path.join(parts_folder, file), file, os.environ['EUCALYPTUS_CERT'], signing_key, kind, ids, part_bytes=2 * 1024 * 1024)
    for name in names:
        bucket.new_key('bundles/' + name).set_contents_from_filename(name, policy='aws-exec-read')
        os.unlink(name)
    return bucket.name + '/bundles/' + names[-1]


def register_bundles(ec2, bucket, kernel, ramdisk):
    """The machine's manifest names its kernel and its ramdisk; those of a kernel and a ramdisk have Eucalyptus' word."""
    ids = '<kernel_id>%s</kernel_id><ramdisk_id>%s</ramdisk_id>' % (kernel, ramdisk)
    machine = ec2.register_image(name='bundled', image_location=upload_bundle(bucket, 'root.ext4', 'machine', ids))
    others = [ec2.register_image(image_location=upload_bundle(bucket, file, kind, '<%s_id>true</%s_id>' % (kind, kind)))
              for file, kind in (('vmlinuz', 'kernel'), ('initrd.gz', 'ramdisk'))]
    images = until('bundles available', lambda: settled(ec2.get_all_images([machine] + others)))
    seen['bundled'] = sorted([image.id[:4], image.type, image.state] for image in images)
    image = ec2.get_image(machine)
    assert (image.kernel_id, image.ramdisk_id, image.location) == (kernel, ramdisk, 'classic/bundles/root.ext4.manifest.xml')
    for other in others:
        ec2.deregister_image(other)
    manifest = bucket.get_key('bundles/root.ext4.manifest.xml')
    forged = manifest.get_contents_as_string().replace(b'x86_64', b'i386')
    bucket.new_key('bundles/forged.manifest.xml').set_contents_from_string(forged)
    forged = ec2.register_image(image_location='classic/bundles/forged.manifest.xml')
    [image] = until('the forged one is settled', lambda: settled(ec2.get_all_images([forged])))
    seen['forged'] = image.state
    return machine


def settled(images):
    return images if all(image.state in ('available', 'failed') for image in images) else None


def register(ec2):
    kernel = ec2.register_image(name='classic-kernel', image_location='classic/parts/vmlinuz', kernel_id='true')
    ramdisk = ec2.register_image(name='classic-ramdisk', image_location='classic/parts/initrd.gz', ramdisk_id='true')
    machine = ec2.register_image(name='classic', image_location='classic/parts/root.ext4', architecture='x86_64', kernel_id=kernel, ramdisk_id=ramdisk)
    until('images available', lambda: all(image.state == 'available' for image in ec2.get_all_images([kernel, ramdisk, machine])))
    image = ec2.get_image(machine)
    assert (image.kernel_id, image.ramdisk_id, image.location) == (kernel, ramdisk, 'classic/parts/root.ext4')
    ec2.deregister_image(machine)
    return kernel, ramdisk


def ssh(instance, command):
    options = ['BatchMode=yes', 'ConnectTimeout=3', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR']
    words = ['ssh', '-F', '/dev/null', '-n', '-i', 'classic.pem'] + [word for option in options for word in ('-o', option)]
    done = subprocess.run(words + ['root@' + instance.private_ip_address, command], capture_output=True, text=True, timeout=30)
    return done.stdout.strip() if done.returncode == 0 else None


def until_state(instances, state):
    until(state, lambda: all(instance.update() == state for instance in instances))


def launch(ec2, machine):
    # boto 2's own KeyPair.save fails on python 3.
    with open(os.open('classic.pem', os.O_WRONLY | os.O_CREAT, 0o600), 'w') as file:
        file.write(ec2.create_key_pair('classic').material)
    ec2.create_tags([pair.keyPairId for pair in ec2.get_all_key_pairs()], {'of': 'boto'})
    seen['keysTagged'] = [pair.name for pair in ec2.get_all_key_pairs()]
    group = ec2.create_security_group('classic', 'ssh for everybody')
    assert group.authorize('tcp', 22, 22, '0.0.0.0/0')
    reservation = ec2.run_instances(machine, min_count=2, max_count=2, key_name='classic', security_groups=['classic'], instance_type='m1.tiny',
                                    user_data='#!/bin/sh\necho from-user-data > /root/user-data-ran\n')
    instances = reservation.instances
    seen['launched'] = [instance.state for instance in instances]
    seen['groups'] = [group.name for group in reservation.groups]
    until_state(instances, 'running')
    for instance in instances:
        until('ssh', lambda: ssh(instance, 'true') is not None)
        until('user data', lambda: ssh(instance, 'cat /root/user-data-ran') == 'from-user-data')
    return instances


def live(ec2, instances):
    one = instances[0]
    one.add_tag('Name', 'first')
    seen['tagged'] = [found.id for found in ec2.get_only_instances(filters={'tag:Name': 'first'})] == [one.id]
    seen['console'] = 'guest: ready' in (one.get_console_output().output or b'').decode()
    assert ssh(one, 'echo kept > /root/file; sync') is not None
    ec2.stop_instances([instance.id for instance in instances])
    until_state(instances, 'stopped')
    seen['stopped'] = one.state_reason['code']
    ec2.start_instances([instance.id for instance in instances])
    until_state(instances, 'running')
    until('ssh after start', lambda: ssh(one, 'true') is not None)
    seen['fileAfterStart'] = ssh(one, 'cat /root/file')
    # A container shares the host's clock of uptime, so its first process tells its age.
    born = ssh(one, "awk '{ print $22 }' /proc/1/stat")
    seen['reboot'] = one.reboot()
    until('the guest begins again', lambda: ssh(one, "awk '{ print $22 }' /proc/1/stat") not in (None, born))
    seen['fileAfterReboot'] = ssh(one, 'cat /root/file')


def errors(ec2):
    seen['errors'] = {
        'unknown instance': refused(lambda: ec2.get_all_instances(['i-0123456789abcdef0'])),
        'malformed instance': refused(lambda: ec2.get_all_instances(['nonsense'])),
        'unknown image': refused(lambda: ec2.run_instances('ami-0123456789abcdef0')),
        'second group of a name': refused(lambda: ec2.create_security_group('classic', 'again')),
        'group in use': refused(lambda: ec2.delete_security_group('classic')),
        'unknown action': refused(lambda: ec2.get_status('MakeCoffee', {})),
        'not built yet': refused(lambda: ec2.get_all_vpcs() if hasattr(ec2, 'get_all_vpcs') else ec2.get_status('CreateVpc', {'CidrBlock': '10.0.0.0/16'})),
    }


ec2 = connect()
seen['regions'] = [region.name for region in ec2.get_all_regions()]
seen['zones'] = [zone.name for zone in ec2.get_all_zones()]
bucket = upload()
machine = register_bundles(ec2, bucket, *register(ec2))
for key in bucket.list():
    key.delete()
bucket.delete()
instances = launch(ec2, machine)
live(ec2, instances)
errors(ec2)
ec2.terminate_instances([instance.id for instance in instances])
until_state(instances, 'terminated')
seen['reason'] = instances[0].state_reason['code']
seen['groupDeleted'] = ec2.delete_security_group('classic')
seen['keyDeleted'] = ec2.delete_key_pair('classic')
seen['imageDeregistered'] = ec2.deregister_image(machine)
print(json.dumps(seen))
