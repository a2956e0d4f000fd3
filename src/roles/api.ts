// Starts the API of this process: the query server of EC2, STS and IAM, and of Nova's Admin API. It holds no state.
import { adminActions } from '../api/admin/index.ts';
import { findAdminOperation } from '../api/admin/model.ts';
import { createDispatcher, type DispatcherOptions } from '../api/ec2/dispatch.ts';
import { allActions } from '../api/ec2/actions/index.ts';
import { createEc2Server } from '../api/http/server.ts';
import type { ObservedRequest } from '../api/http/app.ts';
import { authenticateEc2 } from '../auth/authenticate.ts';
import { endpointsOf, projectNetworksOf } from '../config/settings.ts';
import { openTls } from './endpoint-identity.ts';
import { announceShared, type Foundation } from './foundation.ts';
import { startListener } from './listener.ts';
import { createOperatorWork } from './operator-work.ts';
import { overcommitOf } from './overcommit.ts';

export async function startApi(foundation: Foundation, options: { observe: (request: ObservedRequest) => void }): Promise<void> {
  const { settings, system, transport, relay, directory, db, clock, auth, audit } = foundation;
  const log = foundation.log.child({ role: 'api' });
  const asked: Pick<DispatcherOptions, 'authenticate' | 'services'> = {
    authenticate: (request, dialect) => authenticateEc2(request, { auth, clock }, dialect),
    services: {
      db, auth, operator: createOperatorWork(foundation), transport, relay, directory, clock, log,
      region: settings.region, zone: settings.zone, dnsDomain: settings.dnsDomain,
      endpoint: endpointsOf(settings).ec2, instancesPerProjectMax: settings.instancesPerProjectMax,
      addressesPerProjectMax: settings.addressesPerProjectMax,
      projectNetworks: projectNetworksOf(settings),
      vpcsPerProjectMax: settings.vpcsPerProjectMax, subnetsPerVpcMax: settings.subnetsPerVpcMax,
      volumesPerProjectMax: settings.volumesPerProjectMax, gigabytesPerProjectMax: settings.gigabytesPerProjectMax,
      snapshotsPerProjectMax: settings.snapshotsPerProjectMax,
      coresPerProjectMax: settings.coresPerProjectMax, memoryMiBPerProjectMax: settings.memoryMiBPerProjectMax,
      securityGroupsPerProjectMax: settings.securityGroupsPerProjectMax, rulesPerSecurityGroupMax: settings.rulesPerSecurityGroupMax,
      keyPairsPerProjectMax: settings.keyPairsPerProjectMax, imagesPerProjectMax: settings.imagesPerProjectMax, overcommit: overcommitOf(settings),
    },
  };
  const dispatcher = createDispatcher({ actions: allActions, audit: { trail: audit, service: undefined }, ...asked });
  const adminDispatcher = createDispatcher({
    actions: adminActions, find: findAdminOperation, audit: { trail: audit, service: 'admin' }, ...asked,
  });
  const server = createEc2Server({ dispatcher, adminDispatcher, log, clock, observe: options.observe, tls: await openTls(foundation) });
  foundation.drain.add('server', (deadlineMs) => server.close(deadlineMs));
  await startListener(system, 'api', { server, host: settings.bind, port: settings.apiPort });
  await announceShared(foundation, 'api');
}
