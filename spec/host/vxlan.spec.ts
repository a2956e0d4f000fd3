// Networks of projects over VXLAN, on two hosts in network namespaces. The same with VLANs: spec/lab/vlan.spec.ts.
import { projectTenants } from '../support/project-tenants.ts';

projectTenants({ name: 'nvx', manager: 'vxlan', segments: [5001, 5002] });
