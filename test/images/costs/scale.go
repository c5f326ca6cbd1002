package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// A site is what a calculation for many hosts assumes. Everything is per second where it is a rate.
type site struct {
	hosts int

	// of the image
	unpacked, squashed, layers float64 // bytes: as a tree, as squashfs, as layers of a registry
	layerCount                 float64
	readFiles                  float64 // files that a host's tasks open until they compute
	readBytes                  float64 // their bytes, unpacked

	// of the machines
	registry     float64 // bytes
	share        float64 // bytes, of the shared file system
	operations   float64 // of the shared file system: look-ups, opens, reads
	network      float64 // bytes, of a host
	disk         float64 // bytes, of a host
	importing    float64 // bytes of an unpacked image that one host writes
	fanOut       int     // Slurm's TreeWidth
	block        float64 // bytes that sbcast sends at once
	perFile      float64 // operations for a file of a tree: look-up, open, attributes, read
	blockOfImage float64 // bytes that one read of a squashfs gives, unpacked
}

// typical is a site with ten-gigabit hosts, a mirror of registries and an image like that of the table of
// costs.
func typical(hosts int) site {
	const mb = 1e6
	return site{
		hosts: hosts, unpacked: 550 * mb, squashed: 220 * mb, layers: 210 * mb, layerCount: 10, readFiles: 3000, readBytes: 120 * mb,
		registry: 1000 * mb, network: 1250 * mb, disk: 1000 * mb, importing: 70 * mb,
		fanOut: 16, block: 8 * mb, perFile: 4, blockOfImage: 131072,
	}
}

// nfs and lustre are shared file systems: one server, and a parallel one.
func (s site) nfs() site    { s.share, s.operations = 1e9, 20e3; return s }
func (s site) lustre() site { s.share, s.operations = 20e9, 60e3; return s }

// An outcome is what a way to give all hosts the image costs.
type outcome struct {
	way      string
	requests float64 // to the registry
	shared   float64 // bytes from the shared file system
	ops      float64 // operations there
	ready    time.Duration
}

// ways returns the outcomes of all ways. Resources are shared evenly and work at the same time: a step
// takes as long as the slowest of them.
func ways(hosts int) []outcome {
	s := typical(hosts)
	nfs, lustre := s.nfs(), s.lustre()
	return []outcome{
		nfs.tree("tree on NFS"), lustre.tree("tree on Lustre"),
		nfs.image("sqfs on NFS"), lustre.image("sqfs on Lustre"),
		nfs.staged("sqfs on NFS, copied to each host by sbcast"),
		s.each("each host pulls to its disk"),
	}
}

// requestsOnce are those of one import: the tag, the manifest, the configuration, the layers.
func (s site) requestsOnce() float64 { return 3 + s.layerCount }

// once is how long one host takes to import the image.
func (s site) once() float64 { return max(s.layers/s.registry, s.unpacked/s.importing) }

func (s site) outcome(way string, requests, shared, ops, seconds float64) outcome {
	return outcome{way, requests, shared, ops, time.Duration(seconds * float64(time.Second))}
}

// tree: every host opens the files it needs on the shared file system.
func (s site) tree(way string) outcome {
	n := float64(s.hosts)
	bytes, ops := n*s.readBytes, n*s.readFiles*s.perFile
	return s.outcome(way, s.requestsOnce(), bytes, ops, s.once()+max(bytes/s.share, ops/s.operations, s.readBytes/s.network))
}

// image: every host opens one file and reads the blocks it needs, compressed.
func (s site) image(way string) outcome {
	n := float64(s.hosts)
	each := s.readBytes * s.squashed / s.unpacked
	bytes, ops := n*each, n*(s.perFile+s.readBytes/s.blockOfImage)
	return s.outcome(way, s.requestsOnce(), bytes, ops, s.once()+max(bytes/s.share, ops/s.operations, each/s.network))
}

// staged: one host reads the file, and sbcast sends it block by block down a tree of hosts. Each waits
// for a whole block before it passes it to all below.
func (s site) staged(way string) outcome {
	depth := math.Ceil(math.Log(float64(s.hosts)*float64(s.fanOut-1)+1)/math.Log(float64(s.fanOut)) - 1)
	perBlock := depth*float64(min(s.fanOut, s.hosts))*s.block/s.network + s.block/s.disk
	return s.outcome(way, s.requestsOnce(), s.squashed, s.perFile+s.squashed/s.block, s.once()+s.squashed/s.share+math.Ceil(s.squashed/s.block)*perBlock)
}

// each: every host asks the registry and imports.
func (s site) each(way string) outcome {
	n := float64(s.hosts)
	return s.outcome(way, n*s.requestsOnce(), 0, 0, max(n*s.layers/s.registry, s.layers/s.network, s.unpacked/s.importing))
}

// scaleTable is the outcomes as a table.
func scaleTable(hosts int) string {
	var out strings.Builder
	fmt.Fprintf(&out, "| %d hosts | requests to the registry | from the shared file system | operations there | all have started after |\n|---|---|---|---|---|\n", hosts)
	for _, o := range ways(hosts) {
		fmt.Fprintf(&out, "| %s | %.0f | %.1f GB | %.0f | %.0f s |\n", o.way, o.requests, o.shared/1e9, o.ops, o.ready.Seconds())
	}
	return out.String()
}
