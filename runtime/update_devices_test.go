package runtime

import (
	"encoding/json"
	"testing"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestUpdateLists: an update changes or adds the elements of a list that it names, leaves
// the others, and does not modify the resources that libcontainer goes back to.
func TestUpdateLists(t *testing.T) {
	before := &cgroups.Resources{
		BlkioWeightDevice:          []*cgroups.WeightDevice{cgroups.NewWeightDevice(8, 0, 100, 200), cgroups.NewWeightDevice(8, 16, 1, 2)},
		BlkioThrottleReadBpsDevice: []*cgroups.ThrottleDevice{cgroups.NewThrottleDevice(8, 0, 1), cgroups.NewThrottleDevice(8, 0, 2)},
		HugetlbLimit:               []*cgroups.HugepageLimit{{Pagesize: "2MB", Limit: 1}, {Pagesize: "1GB", Limit: 2}},
		Rdma:                       map[string]cgroups.LinuxRdma{"mlx5_0": {HcaHandles: new(uint32)}},
		NetPrioIfpriomap:           []*cgroups.IfPrioMap{{Interface: "eth0", Priority: 1}},
		Unified:                    map[string]string{"memory.max": "1"},
	}
	const sent = `{
		"blockIO": {
			"weightDevice": [{"major": 8, "minor": 0, "weight": 500}, {"major": 9, "minor": 1, "leafWeight": 7}],
			"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 10}],
			"throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 20}],
			"throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 30}],
			"throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 40}]
		},
		"hugepageLimits": [{"pageSize": "1GB", "limit": 9}, {"pageSize": "64KB", "limit": 8}],
		"rdma": {"mlx5_0": {"hcaObjects": 5}, "mlx5_1": {"hcaHandles": 6}},
		"network": {"classID": 77, "priorities": [{"name": "eth0", "priority": 3}, {"name": "lo", "priority": 4}]}
	}`
	const want = `{"BlkioWeightDevice":[{"major":8,"minor":0,"weight":500,"leafWeight":200},{"major":8,"minor":16,"weight":1,"leafWeight":2},` +
		`{"major":9,"minor":1,"weight":0,"leafWeight":7}],` +
		`"Read":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":0,"rate":10}],` +
		`"Others":[[{"major":8,"minor":0,"rate":20}],[{"major":8,"minor":0,"rate":30}],[{"major":8,"minor":0,"rate":40}]],` +
		`"Huge":[{"page_size":"2MB","limit":1},{"page_size":"1GB","limit":9},{"page_size":"64KB","limit":8}],` +
		`"Rdma":{"mlx5_0":{"hca_handles":0,"hca_objects":5},"mlx5_1":{"hca_handles":6}},"Class":77,` +
		`"Priorities":[{"interface":"eth0","priority":3},{"interface":"lo","priority":4}],"Unified":null}`
	untouched := asJSON(t, before)
	given := new(specs.LinuxResources)
	if err := json.Unmarshal([]byte(sent), given); err != nil {
		t.Fatal(err)
	}
	changed := *before
	if err := change(&changed, given); err != nil {
		t.Fatal(err)
	}
	got := asJSON(t, struct {
		BlkioWeightDevice []*cgroups.WeightDevice
		Read              []*cgroups.ThrottleDevice
		Others            [][]*cgroups.ThrottleDevice
		Huge              []*cgroups.HugepageLimit
		Rdma              map[string]cgroups.LinuxRdma
		Class             uint32
		Priorities        []*cgroups.IfPrioMap
		Unified           map[string]string
	}{
		changed.BlkioWeightDevice, changed.BlkioThrottleReadBpsDevice,
		[][]*cgroups.ThrottleDevice{changed.BlkioThrottleWriteBpsDevice, changed.BlkioThrottleReadIOPSDevice, changed.BlkioThrottleWriteIOPSDevice},
		changed.HugetlbLimit, changed.Rdma, changed.NetClsClassid, changed.NetPrioIfpriomap, changed.Unified,
	})
	if got != want {
		t.Errorf("changed to\n%s\nwant\n%s", got, want)
	}
	if now := asJSON(t, before); now != untouched {
		t.Errorf("what there was became\n%s\nfrom\n%s", now, untouched)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
