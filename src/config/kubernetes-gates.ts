// Gates that kube-proxy 1.36 knows only because every component of Kubernetes knows them all. Nothing here depends on them; a node's
// configuration may have them, since installers give every component the same.

export const OTHER_GATES: readonly string[] = [];
