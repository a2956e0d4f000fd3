# boto3, unmodified: its cells of the matrix of S3.
import base64
import datetime
import hashlib
import io
import json
import os
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from cells import (cell, changed, equal, foreign, form, fresh, key, large, odd_keys, only_v2, only_v4, origin, other_id, other_key, other_secret, part_size,
                   plain, port, preflight, raises, run, secret, small)


def connect(access=key, hidden=secret, version='s3v4'):
    config = Config(signature_version=version, retries={'total_max_attempts': 1}, s3={'addressing_style': 'path'})
    return boto3.client('s3', endpoint_url='http://127.0.0.1:%d' % port, region_name='nova', aws_access_key_id=access, aws_secret_access_key=hidden,
                        config=config)


s3, other = connect(), connect(other_key, other_secret)


def bucket():
    name = fresh()
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={'LocationConstraint': 'nova'})
    return name


def put(b, name='k', data=small, **more):
    return s3.put_object(Bucket=b, Key=name, Body=data, **more)


def read(b, name='k', who=s3, **more):
    return who.get_object(Bucket=b, Key=name, **more)['Body'].read()


def code(work):
    answer = raises(ClientError, work).response
    return answer['ResponseMetadata']['HTTPStatusCode'], answer['Error']['Code']


@cell('create a bucket')
def _():
    b = bucket()
    equal(code(lambda: s3.create_bucket(Bucket=b, CreateBucketConfiguration={'LocationConstraint': 'nova'})), (409, 'BucketAlreadyOwnedByYou'))
    equal([one['Name'] for one in s3.list_buckets()['Buckets']].count(b), 1)


@cell('list buckets')
def _():
    b = bucket()
    names = [one['Name'] for one in s3.list_buckets()['Buckets']]
    assert b in names and foreign not in names, names


@cell('head a bucket')
def _():
    equal(s3.head_bucket(Bucket=bucket())['ResponseMetadata']['HTTPStatusCode'], 200)
    equal(code(lambda: s3.head_bucket(Bucket='absent-of-boto3')), (404, '404'))


@cell('delete a bucket')
def _():
    b = bucket()
    put(b)
    equal(code(lambda: s3.delete_bucket(Bucket=b)), (409, 'BucketNotEmpty'))
    s3.delete_object(Bucket=b, Key='k')
    s3.delete_bucket(Bucket=b)
    equal(code(lambda: s3.head_bucket(Bucket=b)), (404, '404'))


@cell('location')
def _():
    equal(s3.get_bucket_location(Bucket=bucket())['LocationConstraint'], 'nova')


@cell('tags of a bucket')
def _():
    b, tags = bucket(), [{'Key': 'colour', 'Value': 'blue green'}, {'Key': 'ü', 'Value': '1'}]
    s3.put_bucket_tagging(Bucket=b, Tagging={'TagSet': tags})
    equal(s3.get_bucket_tagging(Bucket=b)['TagSet'], tags)
    s3.delete_bucket_tagging(Bucket=b)
    equal(code(lambda: s3.get_bucket_tagging(Bucket=b)), (404, 'NoSuchTagSet'))


@cell('canned ACL of a bucket')
def _():
    b = bucket()
    s3.put_bucket_acl(Bucket=b, ACL='public-read')
    equal(plain('GET', '/' + b)[0], 200)
    s3.put_bucket_acl(Bucket=b, ACL='private')
    equal(plain('GET', '/' + b)[0], 403)


def with_grant(acl):
    """Grants as they are, and one more for the other project."""
    more = {'Grantee': {'ID': other_id, 'Type': 'CanonicalUser'}, 'Permission': 'READ'}
    return {'Owner': acl['Owner'], 'Grants': [*acl['Grants'], more]}


def granted(acl):
    return [(grant['Grantee']['ID'], grant['Permission']) for grant in acl['Grants']]


@cell('grants of a bucket')
def _():
    b = bucket()
    equal(code(lambda: other.list_objects_v2(Bucket=b)), (403, 'AccessDenied'))
    s3.put_bucket_acl(Bucket=b, AccessControlPolicy=with_grant(s3.get_bucket_acl(Bucket=b)))
    equal(other.list_objects_v2(Bucket=b)['KeyCount'], 0)
    assert (other_id, 'READ') in granted(s3.get_bucket_acl(Bucket=b))


@cell('bucket policy')
def _():
    b = bucket()
    put(b)
    policy = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Principal': '*', 'Action': 's3:GetObject', 'Resource': 'arn:aws:s3:::%s/*' % b}]}
    s3.put_bucket_policy(Bucket=b, Policy=json.dumps(policy))
    equal(plain('GET', '/%s/k' % b)[0], 200)
    equal(json.loads(s3.get_bucket_policy(Bucket=b)['Policy']), policy)
    equal(s3.get_bucket_policy_status(Bucket=b)['PolicyStatus']['IsPublic'], True)
    s3.delete_bucket_policy(Bucket=b)
    equal(plain('GET', '/%s/k' % b)[0], 403)
    equal(code(lambda: s3.get_bucket_policy(Bucket=b)), (404, 'NoSuchBucketPolicy'))


@cell('CORS')
def _():
    b, rules = bucket(), [{'AllowedMethods': ['GET', 'PUT'], 'AllowedOrigins': [origin], 'AllowedHeaders': ['*'], 'ExposeHeaders': ['ETag'], 'MaxAgeSeconds': 5}]
    equal(preflight(b), 403)
    s3.put_bucket_cors(Bucket=b, CORSConfiguration={'CORSRules': rules})
    equal(preflight(b), 200)
    equal(s3.get_bucket_cors(Bucket=b)['CORSRules'], rules)
    s3.delete_bucket_cors(Bucket=b)
    equal(preflight(b), 403)


@cell('lifecycle')
def _():
    b = bucket()
    rules = [{'ID': 'old', 'Status': 'Enabled', 'Filter': {'Prefix': 'logs/'}, 'Expiration': {'Days': 3}}]
    s3.put_bucket_lifecycle_configuration(Bucket=b, LifecycleConfiguration={'Rules': rules})
    equal(s3.get_bucket_lifecycle_configuration(Bucket=b)['Rules'], rules)
    s3.delete_bucket_lifecycle(Bucket=b)
    equal(code(lambda: s3.get_bucket_lifecycle_configuration(Bucket=b)), (404, 'NoSuchLifecycleConfiguration'))


@cell('versioning')
def _():
    b = bucket()
    equal(s3.get_bucket_versioning(Bucket=b).get('Status'), None)
    for status in ('Enabled', 'Suspended'):
        s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={'Status': status})
        equal(s3.get_bucket_versioning(Bucket=b)['Status'], status)


@cell('put and get')
def _():
    b = bucket()
    for data in (b'', small, large[:3 << 20]):
        equal(put(b, data=data)['ETag'], '"%s"' % hashlib.md5(data).hexdigest())
        equal(read(b) == data, True)


@cell('odd keys')
def _():
    b = bucket()
    for name in odd_keys:
        put(b, name, name.encode())
    equal([one['Key'] for one in s3.list_objects_v2(Bucket=b)['Contents']], sorted(odd_keys, key=lambda name: name.encode()))
    for name in odd_keys:
        equal(read(b, name), name.encode())


@cell('head an object')
def _():
    b = bucket()
    put(b, ContentType='text/x-spec')
    found = s3.head_object(Bucket=b, Key='k')
    equal((found['ContentLength'], found['ContentType'], found['ETag']), (len(small), 'text/x-spec', '"%s"' % hashlib.md5(small).hexdigest()))
    equal(code(lambda: s3.head_object(Bucket=b, Key='absent')), (404, '404'))


def names(b):
    return [one['Key'] for one in s3.list_objects_v2(Bucket=b).get('Contents', [])]


@cell('delete an object')
def _():
    b = bucket()
    for name in ('k', 'l'):
        put(b, name)
    s3.delete_object(Bucket=b, Key='k')
    s3.delete_object(Bucket=b, Key='k')
    equal(names(b), ['l'])


@cell('delete many')
def _():
    b, gone = bucket(), ['k', 'l & <m>', 'ü']
    for name in (*gone, 'stays'):
        put(b, name)
    done = s3.delete_objects(Bucket=b, Delete={'Objects': [{'Key': name} for name in gone]})
    equal((sorted(one['Key'] for one in done['Deleted']), names(b)), (gone, ['stays']))


@cell('copy')
def _():
    b = bucket()
    put(b, 'ü &', ContentType='text/x-spec', Metadata={'colour': 'blue'})
    s3.copy_object(Bucket=b, Key='copied', CopySource={'Bucket': b, 'Key': 'ü &'})
    found = s3.get_object(Bucket=b, Key='copied')
    equal((found['Body'].read(), found['ContentType'], found['Metadata']), (small, 'text/x-spec', {'colour': 'blue'}))


@cell('copy with other metadata')
def _():
    b = bucket()
    put(b, Metadata={'colour': 'blue'})
    s3.copy_object(Bucket=b, Key='copied', CopySource='%s/k' % b, MetadataDirective='REPLACE', Metadata={'shape': 'round'}, ContentType='text/x-other')
    found = s3.get_object(Bucket=b, Key='copied')
    equal((found['Body'].read(), found['ContentType'], found['Metadata']), (small, 'text/x-other', {'shape': 'round'}))


@cell('ranges')
def _():
    b = bucket()
    put(b)
    for asked, wanted in (('2-6', b'small'), ('-5', small[-5:]), ('2-', small[2:])):
        equal(read(b, Range='bytes=' + asked), wanted)
    equal(s3.get_object(Bucket=b, Key='k', Range='bytes=2-6')['ContentRange'], 'bytes 2-6/%d' % len(small))
    equal(code(lambda: read(b, Range='bytes=99-')), (416, 'InvalidRange'))


@cell('conditional requests')
def _():
    b = bucket()
    etag = put(b)['ETag']
    now = datetime.datetime.now(datetime.timezone.utc)
    past, future = now - datetime.timedelta(hours=1), now + datetime.timedelta(hours=1)
    for asked in ({'IfMatch': etag}, {'IfNoneMatch': '"other"'}, {'IfModifiedSince': past}, {'IfUnmodifiedSince': future}):
        equal(read(b, **asked), small)
    for asked, status in (({'IfMatch': '"other"'}, 412), ({'IfUnmodifiedSince': past}, 412), ({'IfNoneMatch': etag}, 304)):
        equal(code(lambda: read(b, **asked))[0], status)
    copy = {'Bucket': b, 'Key': 'l', 'CopySource': '%s/k' % b}
    equal(code(lambda: s3.copy_object(CopySourceIfNoneMatch=etag, **copy)), (412, 'PreconditionFailed'))
    s3.copy_object(CopySourceIfMatch=etag, **copy)


@cell('tags of an object')
def _():
    b, tags = bucket(), [{'Key': 'a', 'Value': '1'}, {'Key': 'ü', 'Value': 'x y'}]
    put(b, Tagging='a=1')
    equal(s3.get_object_tagging(Bucket=b, Key='k')['TagSet'], tags[:1])
    s3.put_object_tagging(Bucket=b, Key='k', Tagging={'TagSet': tags})
    equal((s3.get_object_tagging(Bucket=b, Key='k')['TagSet'], s3.get_object(Bucket=b, Key='k')['TagCount']), (tags, 2))
    s3.delete_object_tagging(Bucket=b, Key='k')
    equal(s3.get_object_tagging(Bucket=b, Key='k')['TagSet'], [])


@cell('canned ACL of an object')
def _():
    b = bucket()
    put(b, ACL='public-read')
    equal(plain('GET', '/%s/k' % b)[0], 200)
    s3.put_object_acl(Bucket=b, Key='k', ACL='private')
    equal(plain('GET', '/%s/k' % b)[0], 403)


@cell('grants of an object')
def _():
    b = bucket()
    put(b)
    equal(code(lambda: read(b, who=other)), (403, 'AccessDenied'))
    s3.put_object_acl(Bucket=b, Key='k', AccessControlPolicy=with_grant(s3.get_object_acl(Bucket=b, Key='k')))
    equal(read(b, who=other), small)
    assert (other_id, 'READ') in granted(s3.get_object_acl(Bucket=b, Key='k'))


@cell('versions')
def _():
    b = bucket()
    s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={'Status': 'Enabled'})
    first, second = put(b, data=b'one')['VersionId'], put(b, data=b'two')['VersionId']
    marker = s3.delete_object(Bucket=b, Key='k')['VersionId']
    equal(code(lambda: read(b)), (404, 'NoSuchKey'))
    found = s3.list_object_versions(Bucket=b)
    equal([one['VersionId'] for one in found['Versions']], [second, first])
    equal([(one['VersionId'], one['IsLatest']) for one in found['DeleteMarkers']], [(marker, True)])
    equal(read(b, VersionId=first), b'one')
    s3.delete_object(Bucket=b, Key='k', VersionId=marker)
    equal(read(b), b'two')


@cell('Content-MD5')
def _():
    b = bucket()
    md5 = base64.b64encode(hashlib.md5(small).digest()).decode()
    put(b, ContentMD5=md5)
    equal(code(lambda: put(b, data=b'other', ContentMD5=md5)), (400, 'BadDigest'))


@cell('checksums in headers')
def _():
    b = bucket()
    wanted = {'CRC32': zlib.crc32(small).to_bytes(4, 'big'), 'SHA1': hashlib.sha1(small).digest(), 'SHA256': hashlib.sha256(small).digest()}
    for kind, digest in wanted.items():
        put(b, ChecksumAlgorithm=kind)
        found = s3.get_object(Bucket=b, Key='k', ChecksumMode='ENABLED')
        equal((found['Checksum' + kind], found['Body'].read()), (base64.b64encode(digest).decode(), small))
        equal(code(lambda: put(b, data=b'other', **{'Checksum' + kind: found['Checksum' + kind]}))[1], 'BadDigest')


@cell('metadata and content headers')
def _():
    b = bucket()
    given = {'ContentType': 'text/x-spec; charset=utf-8', 'ContentEncoding': 'x-spec', 'ContentLanguage': 'de', 'CacheControl': 'max-age=5',
             'ContentDisposition': 'attachment; filename="f"', 'Metadata': {'colour': 'blue  &  green'}}
    put(b, **given)
    found = s3.head_object(Bucket=b, Key='k')
    equal({name: found[name] for name in given}, given)


@cell('response-* overrides')
def _():
    b = bucket()
    put(b)
    asked = {'ContentType': 'text/x-other', 'CacheControl': 'no-store', 'ContentDisposition': 'attachment', 'ContentLanguage': 'fr', 'ContentEncoding': 'x-other'}
    found = s3.get_object(Bucket=b, Key='k', **{'Response' + name: value for name, value in asked.items()})
    equal({name: found[name] for name in asked}, asked)


@cell('public static GET')
def _():
    b = bucket()
    put(b, 'page.html', ACL='public-read', ContentType='text/html')
    status, headers, body = plain('GET', '/%s/page.html' % b)
    equal((status, headers['content-type'], body), (200, 'text/html', small))


def part(number):
    return large[(number - 1) * part_size:number * part_size]


@cell('multipart upload')
def _():
    b = bucket()
    s3.upload_fileobj(io.BytesIO(large), b, 'k', Config=TransferConfig(multipart_threshold=part_size, multipart_chunksize=part_size))
    assert s3.head_object(Bucket=b, Key='k')['ETag'].endswith('-3"')
    got = io.BytesIO()
    s3.download_fileobj(b, 'k', got, Config=TransferConfig(multipart_threshold=part_size, multipart_chunksize=part_size))
    equal(got.getvalue() == large, True)


@cell('list uploads')
def _():
    b = bucket()
    upload = s3.create_multipart_upload(Bucket=b, Key='ü k')['UploadId']
    equal([(one['Key'], one['UploadId']) for one in s3.list_multipart_uploads(Bucket=b)['Uploads']], [('ü k', upload)])


@cell('list parts')
def _():
    b = bucket()
    of = {'Bucket': b, 'Key': 'k', 'UploadId': s3.create_multipart_upload(Bucket=b, Key='k')['UploadId']}
    for number in (1, 2):
        s3.upload_part(Body=part(number), PartNumber=number, **of)
    equal([(one['PartNumber'], one['Size']) for one in s3.list_parts(**of)['Parts']], [(1, part_size), (2, part_size)])


@cell('abort an upload')
def _():
    b = bucket()
    of = {'Bucket': b, 'Key': 'k', 'UploadId': s3.create_multipart_upload(Bucket=b, Key='k')['UploadId']}
    s3.upload_part(Body=part(1), PartNumber=1, **of)
    s3.abort_multipart_upload(**of)
    equal(s3.list_multipart_uploads(Bucket=b).get('Uploads'), None)


@cell('copy a part')
def _():
    b = bucket()
    put(b, 'ü k', large)
    of = {'Bucket': b, 'Key': 'copied', 'UploadId': s3.create_multipart_upload(Bucket=b, Key='copied')['UploadId']}
    parts = []
    for number, (start, end) in enumerate(((0, part_size - 1), (part_size, len(large) - 1)), 1):
        done = s3.upload_part_copy(PartNumber=number, CopySource={'Bucket': b, 'Key': 'ü k'}, CopySourceRange='bytes=%d-%d' % (start, end), **of)
        parts.append({'PartNumber': number, 'ETag': done['CopyPartResult']['ETag']})
    s3.complete_multipart_upload(MultipartUpload={'Parts': parts}, **of)
    equal(read(b, 'copied') == large, True)


def both_ways(version, right, wrong):
    signing = connect(version=version)
    signing.put_object(Bucket=right, Key='by boto3', Body=small)
    equal(read(right, 'by boto3', signing), small)
    equal(code(lambda: signing.put_object(Bucket=wrong, Key='k', Body=small)), (403, 'AccessDenied'))


@cell('signature 4')
def _():
    both_ways('s3v4', only_v4, only_v2)


@cell('signature 2')
def _():
    both_ways('s3', only_v2, only_v4)


def by_address(version):
    b = bucket()
    put(b, 'ü k')
    url = connect(version=version).generate_presigned_url('get_object', Params={'Bucket': b, 'Key': 'ü k'}, ExpiresIn=60)
    equal('X-Amz-Signature' in url, version == 's3v4')
    equal(plain('GET', url)[::2], (200, small))
    equal(plain('GET', changed(url))[0], 403)


@cell('address signed by version 4')
def _():
    by_address('s3v4')


@cell('address signed by version 2')
def _():
    by_address('s3')


@cell('POST form with policy')
def _():
    b = bucket()
    for version in ('s3v4', 's3'):
        made = connect(version=version).generate_presigned_post(b, 'up/${filename}', Conditions=[['content-length-range', 1, 100]], ExpiresIn=60)
        kind, body = form(made['fields'], small)
        equal(plain('POST', made['url'], body, {'Content-Type': kind})[0], 204)
        equal(read(b, 'up/f'), small)
        s3.delete_object(Bucket=b, Key='up/f')
        kind, body = form({**made['fields'], 'key': 'other'}, small)
        equal(plain('POST', made['url'], body, {'Content-Type': kind})[0], 403)


@cell('refusals')
def _():
    equal(code(connect(key, 'wrong').list_buckets), (403, 'SignatureDoesNotMatch'))
    equal(code(lambda: s3.list_objects_v2(Bucket=foreign)), (403, 'AccessDenied'))
    equal(code(lambda: read(bucket(), 'absent')), (404, 'NoSuchKey'))


every = ['a/1', 'a/2', 'b', 'c/ü 3', 'd']


def tree():
    b = bucket()
    for name in every:
        put(b, name)
    return b


def paged(operation, b, **more):
    """Keys, and how many pages they came in."""
    pages = list(s3.get_paginator(operation).paginate(Bucket=b, PaginationConfig={'PageSize': 2}, **more))
    return [one['Key'] for page in pages for one in page['Contents']], len(pages)


def folders(answer):
    return [one['Key'] for one in answer['Contents']], [one['Prefix'] for one in answer['CommonPrefixes']]


@cell('list, version 1')
def _():
    b = tree()
    equal(folders(s3.list_objects(Bucket=b, Delimiter='/')), (['b', 'd'], ['a/', 'c/']))
    equal([one['Key'] for one in s3.list_objects(Bucket=b, Prefix='a/')['Contents']], ['a/1', 'a/2'])
    equal(paged('list_objects', b), (every, 3))


@cell('list, version 2')
def _():
    b = tree()
    equal(folders(s3.list_objects_v2(Bucket=b, Delimiter='/')), (['b', 'd'], ['a/', 'c/']))
    equal([one['Key'] for one in s3.list_objects_v2(Bucket=b, Prefix='a/')['Contents']], ['a/1', 'a/2'])
    equal(paged('list_objects_v2', b), (every, 3))
    equal(paged('list_objects_v2', b, StartAfter='a/2'), (every[2:], 2))
    assert s3.list_objects_v2(Bucket=b, FetchOwner=True)['Contents'][0]['Owner']['ID']


@cell('encoding-type')
def _():
    b = tree()
    equal([one['Key'] for one in s3.list_objects_v2(Bucket=b, Prefix='c/', EncodingType='url')['Contents']], ['c/%C3%BC%203'])
    equal([one['Prefix'] for one in s3.list_objects(Bucket=b, Prefix='c/ü', Delimiter=' ', EncodingType='url')['CommonPrefixes']], ['c/%C3%BC%20'])


run()
