# A boto3 session that is asked for one call a line and answers in one line: python and boto3 need a second to start, and specs make
# hundreds of calls. Every call runs in a thread of its own, so that a waiter holds up nobody.
import datetime
import json
import os
import sys
import threading
import base64

import boto3
import botocore.exceptions
from botocore.config import Config

endpoints = {name: os.environ['AWS_ENDPOINT_URL_' + name.upper()] for name in ('ec2', 's3', 'sts')}
config = Config(retries={'max_attempts': 0}, read_timeout=120, max_pool_connections=32, s3={'addressing_style': 'path'})
clients = {name: boto3.client(name, endpoint_url=url, config=config) for name, url in endpoints.items()}
out = threading.Lock()


def plain(value):
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if hasattr(value, 'read'):
        return base64.b64encode(value.read()).decode()
    raise TypeError(type(value))


def perform(asked):
    client = clients[asked['service']]
    parameters = asked['parameters']
    kind, _, name = asked['method'].rpartition(':')
    if kind == 'wait':
        return client.get_waiter(name).wait(**parameters)
    if kind == 'paginate':
        return list(client.get_paginator(name).paginate(**parameters))
    if 'Body' in parameters:
        parameters['Body'] = base64.b64decode(parameters['Body'])
    return getattr(client, name)(**parameters)


def answer(asked):
    try:
        said = {'id': asked['id'], 'value': perform(asked)}
    except botocore.exceptions.ClientError as error:
        found = error.response['Error']
        status = error.response['ResponseMetadata']['HTTPStatusCode']
        said = {'id': asked['id'], 'error': {'code': found['Code'], 'message': found.get('Message', ''), 'status': status}}
    except Exception as error:  # whatever boto3 makes of a dead or broken server is for the spec to judge
        said = {'id': asked['id'], 'error': {'code': type(error).__name__, 'message': str(error), 'status': 0}}
    with out:
        sys.stdout.write(json.dumps(said, default=plain) + '\n')
        sys.stdout.flush()


for line in sys.stdin:
    threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
