// Three whole hosts on this machine, as the specs use them, to play with: `npm run three-hosts`. Needs root. Ctrl-C ends them and removes all.
import { once } from 'node:events';
import { startHosts } from '../spec/support/three-hosts.ts';

const name = 'nvplay';
const say = (text: string): boolean => process.stdout.write(`${text}\n`);

say('Starting three hosts: this takes about a minute.');
const cloud = await startHosts(name, { settings: { NOVACT_SERVICE_DOWN_SECONDS: '10' } });
for (const host of cloud.hosts) say(`  ${host.name}  ${host.address}  namespace ${host.machine.namespace}  ${[...host.roles.keys()].join(', ')}`);
say(`PostgreSQL, Redis and the balancer before both APIs: 192.168.77.254, namespace ${name}-net

As a client on the first host:
  ip netns exec ${cloud.host.namespace} bash
  . ${cloud.state}/novarc
  aws --endpoint-url $AWS_ENDPOINT_URL_EC2 ec2 describe-images
As its operator there (novact manage …):
  export ${Object.entries(cloud.operator).map(([key, value]) => `${key}='${value}'`).join(' ')}
  ${process.cwd()}/bin/novact manage --help
Guests are reached by ssh from every host. Ctrl-C ends all of it.`);
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
say('\nEnding: guests, namespaces and folders are removed.');
await cloud.down();
