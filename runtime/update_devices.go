package runtime

import (
	"maps"
	"slices"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Lists of resources have an element for each device, page size or interface. An update
// changes or adds the elements that it names, and leaves the others, as with runc.

// upsert returns a copy of the list in which each given element is merged, with changed, into
// the last element about the same thing, or added. The list itself is not modified:
// libcontainer goes back to it if it cannot set something.
func upsert[T, G any](list []*T, given []G, same func(*T, G) bool, changed func(T, G) T) []*T {
	list = slices.Clone(list)
	for _, g := range given {
		at := len(list)
		var next T
		for i, e := range slices.Backward(list) {
			if same(e, g) {
				at, next = i, *e
				break
			}
		}
		next = changed(next, g)
		list = slices.Replace(list, at, min(at+1, len(list)), &next)
	}
	return list
}

func changeBlockIO(to *cgroups.Resources, b *specs.LinuxBlockIO) {
	set(&to.BlkioWeight, b.Weight)
	set(&to.BlkioLeafWeight, b.LeafWeight)
	to.BlkioWeightDevice = upsert(to.BlkioWeightDevice, b.WeightDevice, sameWeighted, weighted)
	for _, list := range []struct {
		to    *[]*cgroups.ThrottleDevice
		given []specs.LinuxThrottleDevice
	}{
		{&to.BlkioThrottleReadBpsDevice, b.ThrottleReadBpsDevice},
		{&to.BlkioThrottleWriteBpsDevice, b.ThrottleWriteBpsDevice},
		{&to.BlkioThrottleReadIOPSDevice, b.ThrottleReadIOPSDevice},
		{&to.BlkioThrottleWriteIOPSDevice, b.ThrottleWriteIOPSDevice},
	} {
		*list.to = upsert(*list.to, list.given, sameThrottled, throttled)
	}
}

func sameWeighted(e *cgroups.WeightDevice, g specs.LinuxWeightDevice) bool {
	return e.Major == g.Major && e.Minor == g.Minor
}

func weighted(e cgroups.WeightDevice, g specs.LinuxWeightDevice) cgroups.WeightDevice {
	e.Major, e.Minor = g.Major, g.Minor
	set(&e.Weight, g.Weight)
	set(&e.LeafWeight, g.LeafWeight)
	return e
}

func sameThrottled(e *cgroups.ThrottleDevice, g specs.LinuxThrottleDevice) bool {
	return e.Major == g.Major && e.Minor == g.Minor
}

func throttled(e cgroups.ThrottleDevice, g specs.LinuxThrottleDevice) cgroups.ThrottleDevice {
	e.Major, e.Minor, e.Rate = g.Major, g.Minor, g.Rate
	return e
}

func changeHugepages(to *cgroups.Resources, given []specs.LinuxHugepageLimit) {
	to.HugetlbLimit = upsert(to.HugetlbLimit, given,
		func(e *cgroups.HugepageLimit, g specs.LinuxHugepageLimit) bool { return e.Pagesize == g.Pagesize },
		func(_ cgroups.HugepageLimit, g specs.LinuxHugepageLimit) cgroups.HugepageLimit {
			return cgroups.HugepageLimit{Pagesize: g.Pagesize, Limit: g.Limit}
		})
}

func changeRdma(to *cgroups.Resources, given map[string]specs.LinuxRdma) {
	if len(given) == 0 {
		return
	}
	to.Rdma = maps.Clone(to.Rdma)
	if to.Rdma == nil {
		to.Rdma = map[string]cgroups.LinuxRdma{}
	}
	for device, g := range given {
		limit := to.Rdma[device]
		if g.HcaHandles != nil {
			limit.HcaHandles = g.HcaHandles
		}
		if g.HcaObjects != nil {
			limit.HcaObjects = g.HcaObjects
		}
		to.Rdma[device] = limit
	}
}

func changeNetwork(to *cgroups.Resources, given *specs.LinuxNetwork) {
	set(&to.NetClsClassid, given.ClassID)
	to.NetPrioIfpriomap = upsert(to.NetPrioIfpriomap, given.Priorities,
		func(e *cgroups.IfPrioMap, g specs.LinuxInterfacePriority) bool { return e.Interface == g.Name },
		func(_ cgroups.IfPrioMap, g specs.LinuxInterfacePriority) cgroups.IfPrioMap {
			return cgroups.IfPrioMap{Interface: g.Name, Priority: int64(g.Priority)}
		})
}
