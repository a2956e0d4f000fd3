# boto 2, unmodified: its cells of the matrix of S3.
import hashlib
import io
import json
import os
import time
from email.utils import formatdate

import boto
import boto.s3.connection
from boto.exception import S3CreateError, S3ResponseError
from boto.s3.acl import Grant
from boto.s3.bucket import Bucket
from boto.s3.cors import CORSConfiguration
from boto.s3.deletemarker import DeleteMarker
from boto.s3.lifecycle import Expiration, Lifecycle, Rule
from boto.s3.tagging import Tag, Tags, TagSet

from cells import (cell, changed, equal, foreign, fresh, key, large, odd_keys, only_v2, only_v4, origin, other_id, other_key, other_secret, part_size, plain,
                   port, preflight, raises, run, secret, small)

# Errors are for the cells to see, not for boto to repeat.
boto.config.add_section('Boto')
boto.config.set('Boto', 'num_retries', '0')


def connect(access=key, hidden=secret):
    return boto.connect_s3(access, hidden, host='127.0.0.1', port=port, is_secure=False, calling_format=boto.s3.connection.OrdinaryCallingFormat())


s3, other = connect(), connect(other_key, other_secret)


def bucket():
    return s3.create_bucket(fresh())


def put(b, name, data=small, **more):
    k = b.new_key(name)
    k.set_contents_from_string(data, **more)
    return k


def code(work):
    error = raises(S3ResponseError, work)
    return error.status, error.error_code


@cell('create a bucket')
def _():
    name = fresh()
    s3.create_bucket(name, location='nova')
    equal(raises(S3CreateError, lambda: s3.create_bucket(name)).error_code, 'BucketAlreadyOwnedByYou')
    equal([b.name for b in s3.get_all_buckets()].count(name), 1)


@cell('list buckets')
def _():
    b = bucket()
    names = [one.name for one in s3.get_all_buckets()]
    assert b.name in names and foreign not in names, names


@cell('head a bucket')
def _():
    equal(s3.head_bucket(bucket().name).name.startswith('boto2'), True)
    equal(raises(S3ResponseError, lambda: s3.head_bucket('absent-of-boto2')).status, 404)


@cell('delete a bucket')
def _():
    b = bucket()
    put(b, 'k')
    equal(code(b.delete), (409, 'BucketNotEmpty'))
    b.delete_key('k')
    b.delete()
    equal(s3.lookup(b.name), None)


@cell('location')
def _():
    equal(s3.create_bucket(fresh(), location='nova').get_location(), 'nova')


@cell('tags of a bucket')
def _():
    b = bucket()
    tags, wanted = TagSet(), {'colour': 'blue', 'ü': '1'}
    for name, value in wanted.items():
        tags.add_tag(name, value)
    whole = Tags()
    whole.add_tag_set(tags)
    b.set_tags(whole)
    equal({tag.key: tag.value for tag in b.get_tags()[0]}, wanted)
    b.delete_tags()
    equal(code(b.get_tags), (404, 'NoSuchTagSet'))


@cell('canned ACL of a bucket')
def _():
    b = bucket()
    b.set_acl('public-read')
    equal(plain('GET', '/' + b.name)[0], 200)
    b.set_acl('private')
    equal(plain('GET', '/' + b.name)[0], 403)


def granted(thing):
    return [(grant.id, grant.permission) for grant in thing.get_acl().acl.grants]


@cell('grants of a bucket')
def _():
    b = bucket()
    equal(code(lambda: other.get_bucket(b.name, validate=False).get_all_keys()), (403, 'AccessDenied'))
    b.add_user_grant('READ', other_id)
    equal(other.get_bucket(b.name, validate=False).get_all_keys(), [])
    assert (other_id, 'READ') in granted(b), granted(b)


@cell('bucket policy')
def _():
    b = bucket()
    put(b, 'k')
    policy = {'Version': '2012-10-17', 'Statement': [
        {'Effect': 'Allow', 'Principal': '*', 'Action': 's3:GetObject', 'Resource': 'arn:aws:s3:::%s/*' % b.name}]}
    b.set_policy(json.dumps(policy))
    equal(plain('GET', '/%s/k' % b.name)[0], 200)
    equal(json.loads(b.get_policy()), policy)
    b.delete_policy()
    equal(plain('GET', '/%s/k' % b.name)[0], 403)
    equal(code(b.get_policy), (404, 'NoSuchBucketPolicy'))


@cell('CORS')
def _():
    b = bucket()
    cors = CORSConfiguration()
    cors.add_rule(['GET', 'PUT'], [origin], allowed_header='*', max_age_seconds=5)
    equal(preflight(b.name), 403)
    b.set_cors(cors)
    equal(preflight(b.name), 200)
    equal([(rule.allowed_method, rule.allowed_origin, rule.max_age_seconds) for rule in b.get_cors()], [(['GET', 'PUT'], [origin], 5)])
    b.delete_cors()
    equal(preflight(b.name), 403)


@cell('lifecycle')
def _():
    b = bucket()
    rules = Lifecycle()
    rules.append(Rule('old', 'logs/', 'Enabled', expiration=Expiration(days=3)))
    b.configure_lifecycle(rules)
    equal([(rule.id, rule.prefix, rule.status, rule.expiration.days) for rule in b.get_lifecycle_config()], [('old', 'logs/', 'Enabled', 3)])
    b.delete_lifecycle_configuration()
    equal(code(b.get_lifecycle_config), (404, 'NoSuchLifecycleConfiguration'))


@cell('versioning')
def _():
    b = bucket()
    equal(b.get_versioning_status(), {})
    b.configure_versioning(True)
    equal(b.get_versioning_status()['Versioning'], 'Enabled')
    b.configure_versioning(False)
    equal(b.get_versioning_status()['Versioning'], 'Suspended')


@cell('put and get')
def _():
    b = bucket()
    for data in (b'', small, large[:3 << 20]):
        k = put(b, 'k', data)
        equal(b.get_key('k').get_contents_as_string() == data, True)
        equal(b.get_key('k').etag, k.etag)


@cell('odd keys')
def _():
    b = bucket()
    for name in odd_keys:
        put(b, name, name.encode())
    equal(sorted(k.name for k in b.list()), sorted(odd_keys))
    for name in odd_keys:
        equal(b.get_key(name).get_contents_as_string(), name.encode())


@cell('head an object')
def _():
    b = bucket()
    put(b, 'k', headers={'Content-Type': 'text/x-spec'})
    found = b.get_key('k')
    equal((found.size, found.content_type, found.etag), (len(small), 'text/x-spec', '"%s"' % hashlib.md5(small).hexdigest()))
    equal(b.get_key('absent'), None)


@cell('delete an object')
def _():
    b = bucket()
    for name in ('k', 'l'):
        put(b, name)
    b.delete_key('k')
    b.delete_key('k')
    equal([k.name for k in b.list()], ['l'])


@cell('delete many')
def _():
    b = bucket()
    for name in ('k', 'l & <m>', 'ü', 'stays'):
        put(b, name)
    done = b.delete_keys(['k', 'l & <m>', 'ü'])
    equal((sorted(one.key for one in done.deleted), done.errors), (['k', 'l & <m>', 'ü'], []))
    equal([k.name for k in b.list()], ['stays'])


@cell('copy')
def _():
    b = bucket()
    k = b.new_key('ü &')
    k.set_metadata('colour', 'blue')
    k.set_contents_from_string(small, headers={'Content-Type': 'text/x-spec'})
    b.copy_key('copied', b.name, 'ü &')
    found = b.get_key('copied')
    equal((found.get_contents_as_string(), found.content_type, found.get_metadata('colour')), (small, 'text/x-spec', 'blue'))


@cell('copy with other metadata')
def _():
    b = bucket()
    k = b.new_key('k')
    k.set_metadata('colour', 'blue')
    k.set_contents_from_string(small)
    b.copy_key('copied', b.name, 'k', metadata={'shape': 'round', 'Content-Type': 'text/x-other'})
    found = b.get_key('copied')
    equal((found.get_contents_as_string(), found.content_type, found.metadata), (small, 'text/x-other', {'shape': 'round'}))


@cell('ranges')
def _():
    b = bucket()
    put(b, 'k')
    for asked, wanted in (('2-6', b'small'), ('-5', small[-5:]), ('2-', small[2:])):
        equal(b.get_key('k').get_contents_as_string(headers={'Range': 'bytes=' + asked}), wanted)
    equal(code(lambda: b.get_key('k').get_contents_as_string(headers={'Range': 'bytes=99-'})), (416, 'InvalidRange'))


@cell('conditional requests')
def _():
    b = bucket()
    etag = put(b, 'k').etag
    past, future = formatdate(time.time() - 3600, usegmt=True), formatdate(time.time() + 3600, usegmt=True)

    def get(header, value):
        return b.new_key('k').get_contents_as_string(headers={header: value})
    for header, value in (('If-Match', etag), ('If-None-Match', '"other"'), ('If-Modified-Since', past), ('If-Unmodified-Since', future)):
        equal(get(header, value), small)
    for header, value, status in (('If-Match', '"other"', 412), ('If-Unmodified-Since', past, 412), ('If-None-Match', etag, 304)):
        equal(raises(S3ResponseError, lambda: get(header, value)).status, status)


@cell('canned ACL of an object')
def _():
    b = bucket()
    put(b, 'k', policy='public-read')
    equal(plain('GET', '/%s/k' % b.name)[0], 200)
    b.set_acl('private', 'k')
    equal(plain('GET', '/%s/k' % b.name)[0], 403)


@cell('grants of an object')
def _():
    b = bucket()
    k = put(b, 'k')

    def read():
        return Bucket(other, b.name).new_key('k').get_contents_as_string()
    equal(raises(S3ResponseError, read).status, 403)
    k.add_user_grant('READ', other_id)
    equal(read(), small)
    assert (other_id, 'READ') in granted(k), granted(k)


@cell('versions')
def _():
    b = bucket()
    b.configure_versioning(True)
    first = put(b, 'k', b'one').version_id
    second = put(b, 'k', b'two').version_id
    b.delete_key('k')
    equal(b.get_key('k'), None)
    found = list(b.list_versions())
    marker = found[0]
    assert isinstance(marker, DeleteMarker) and marker.is_latest, found
    equal([version.version_id for version in found[1:]], [second, first])
    equal(b.get_key('k', version_id=first).get_contents_as_string(), b'one')
    b.delete_key('k', version_id=marker.version_id)
    equal(b.get_key('k').get_contents_as_string(), b'two')


@cell('Content-MD5')
def _():
    b = bucket()
    put(b, 'k', md5=b.new_key('k').compute_md5(io.BytesIO(small))[:2])
    equal(code(lambda: put(b, 'l', md5=b.new_key('l').compute_md5(io.BytesIO(b'other'))[:2])), (400, 'BadDigest'))


@cell('metadata and content headers')
def _():
    b = bucket()
    headers = {'Content-Type': 'text/x-spec; charset=utf-8', 'Content-Encoding': 'x-spec', 'Content-Language': 'de', 'Cache-Control': 'max-age=5',
               'Content-Disposition': 'attachment; filename="f"'}
    k = b.new_key('k')
    k.set_metadata('colour', 'blue  &  green')
    k.set_contents_from_string(small, headers=headers)
    found = b.get_key('k')
    equal(found.metadata, {'colour': 'blue  &  green'})
    equal([found.content_type, found.content_encoding, found.content_language, found.cache_control, found.content_disposition], list(headers.values()))


@cell('response-* overrides')
def _():
    b = bucket()
    put(b, 'k')
    k = b.new_key('k')
    k.open_read(override_num_retries=0, query_args='response-content-type=text%2Fx-other&response-cache-control=no-store')
    equal((k.content_type, k.resp.getheader('cache-control'), k.read()), ('text/x-other', 'no-store', small))


@cell('public static GET')
def _():
    b = bucket()
    put(b, 'page.html', policy='public-read', headers={'Content-Type': 'text/html'})
    status, headers, body = plain('GET', '/%s/page.html' % b.name)
    equal((status, headers['content-type'], body), (200, 'text/html', small))


def part(number):
    return io.BytesIO(large[(number - 1) * part_size:number * part_size])


@cell('multipart upload')
def _():
    b = bucket()
    upload = b.initiate_multipart_upload('k')
    for number in (1, 2, 3):
        upload.upload_part_from_file(part(number), number)
    assert upload.complete_upload().etag.endswith('-3"')
    equal(b.get_key('k').get_contents_as_string() == large, True)


@cell('list uploads')
def _():
    b = bucket()
    upload = b.initiate_multipart_upload('ü k')
    equal([(one.key_name, one.id) for one in b.list_multipart_uploads()], [('ü k', upload.id)])


@cell('list parts')
def _():
    upload = bucket().initiate_multipart_upload('k')
    for number in (1, 2):
        upload.upload_part_from_file(part(number), number)
    equal([(one.part_number, one.size) for one in upload], [(1, part_size), (2, part_size)])


@cell('abort an upload')
def _():
    b = bucket()
    upload = b.initiate_multipart_upload('k')
    upload.upload_part_from_file(part(1), 1)
    upload.cancel_upload()
    equal(list(b.list_multipart_uploads()), [])


@cell('copy a part')
def _():
    b = bucket()
    put(b, 'ü k', large)
    upload = b.initiate_multipart_upload('copied')
    for number, (start, end) in enumerate(((0, part_size - 1), (part_size, len(large) - 1)), 1):
        upload.copy_part_from_key(b.name, 'ü k', number, start, end)
    upload.complete_upload()
    equal(b.get_key('copied').get_contents_as_string() == large, True)


def both_ways(right, wrong):
    signing = connect()
    signing.auth_region_name = 'nova'  # which boto 2 cannot guess from an IP address
    b = signing.get_bucket(right, validate=False)
    put(b, 'by boto2')
    equal(b.get_key('by boto2').get_contents_as_string(), small)
    equal(code(lambda: put(signing.get_bucket(wrong, validate=False), 'k')), (403, 'AccessDenied'))


@cell('signature 4')
def _():
    os.environ['S3_USE_SIGV4'] = 'True'
    try:
        both_ways(only_v4, only_v2)
    finally:
        del os.environ['S3_USE_SIGV4']


@cell('signature 2')
def _():
    both_ways(only_v2, only_v4)


@cell('address signed by version 2')
def _():
    b = bucket()
    put(b, 'ü k')
    url = s3.generate_url(60, 'GET', b.name, 'ü k')
    equal(plain('GET', url)[::2], (200, small))
    equal(plain('GET', changed(url))[0], 403)


@cell('refusals')
def _():
    equal(code(connect(key, 'wrong').get_all_buckets), (403, 'SignatureDoesNotMatch'))
    equal(code(lambda: s3.get_bucket(foreign, validate=False).get_all_keys()), (403, 'AccessDenied'))
    equal(code(lambda: bucket().new_key('absent').get_contents_as_string()), (404, 'NoSuchKey'))


def tree():
    b = bucket()
    for name in ('a/1', 'a/2', 'b', 'c/ü 3', 'd'):
        put(b, name)
    return b


@cell('list, version 1')
def _():
    b = tree()
    found = b.get_all_keys(delimiter='/')
    equal([one.name for one in found], ['b', 'd', 'a/', 'c/'])
    equal([one.name for one in b.get_all_keys(prefix='a/')], ['a/1', 'a/2'])
    names, marker, pages = [], '', 0
    while True:
        page = b.get_all_keys(max_keys=2, marker=marker)
        names += [one.name for one in page]
        pages += 1
        if not page.is_truncated:
            break
        marker = names[-1]
    equal((names, pages), (['a/1', 'a/2', 'b', 'c/ü 3', 'd'], 3))


@cell('encoding-type')
def _():
    equal([k.name for k in tree().get_all_keys(prefix='c/', encoding_type='url')], ['c/%C3%BC%203'])


run()
