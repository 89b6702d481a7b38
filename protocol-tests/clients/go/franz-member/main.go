// A member of a consumer group over franz-go, with the options and the output of Kafka's VerifiableConsumer.
//
// A line of JSON tells of each event: startup_complete, partitions_assigned, partitions_revoked, records_consumed,
// offsets_committed, shutdown_complete. What was read is committed before the group may rebalance. SIGTERM and SIGINT end it in
// an orderly way: it leaves the group.
//
// --topic takes several, separated by commas. --command-config names a file of settings by Kafka's names, a `name=value` a line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// How long the program waits for records before it looks whether it is to end.
const pollTime = 100 * time.Millisecond

type event struct {
	Timestamp  int64       `json:"timestamp"`
	Name       string      `json:"name"`
	Count      int         `json:"count,omitempty"`
	Partitions []partition `json:"partitions,omitempty"`
	Success    *bool       `json:"success,omitempty"`
	Error      string      `json:"error,omitempty"`
	Offsets    []offset    `json:"offsets,omitempty"`
}

type partition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Count     int    `json:"count,omitempty"`
	MinOffset *int64 `json:"minOffset,omitempty"`
	MaxOffset *int64 `json:"maxOffset,omitempty"`
}

type offset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// Rebalances are told from the client's own goroutines.
var output sync.Mutex

func say(said event) {
	said.Timestamp = time.Now().UnixMilli()
	line, err := json.Marshal(said)
	if err != nil {
		fail(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "franz-member:", err)
	os.Exit(1)
}

func options() ([]kgo.Opt, error) {
	topics := flag.String("topic", "", "TOPIC[,TOPIC...]")
	servers := flag.String("bootstrap-server", "", "HOST:PORT[,HOST:PORT...]")
	group := flag.String("group-id", "", "the group")
	instance := flag.String("group-instance-id", "", "for a static member")
	strategy := flag.String("assignment-strategy", "range", "range, roundrobin, sticky or cooperative-sticky")
	reset := flag.String("reset-policy", "earliest", "earliest or latest")
	session := flag.Int("session-timeout", 30000, "milliseconds")
	file := flag.String("command-config", "", "a file of settings")
	flag.Parse()

	balancer, found := map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
		"sticky": kgo.StickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
	}[*strategy]
	if !found {
		return nil, fmt.Errorf("unknown assignment strategy %s", *strategy)
	}
	start, found := map[string]kgo.Offset{
		"earliest": kgo.NewOffset().AtStart(), "latest": kgo.NewOffset().AtEnd(),
	}[*reset]
	if !found {
		return nil, fmt.Errorf("unknown reset policy %s", *reset)
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(*servers, ",")...), kgo.ConsumeTopics(strings.Split(*topics, ",")...), kgo.ConsumerGroup(*group),
		kgo.Balancers(balancer), kgo.ConsumeResetOffset(start),
		kgo.SessionTimeout(time.Duration(*session) * time.Millisecond),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(tell("partitions_assigned")),
		kgo.OnPartitionsRevoked(tell("partitions_revoked")), kgo.OnPartitionsLost(tell("partitions_revoked")),
	}
	if *instance != "" {
		options = append(options, kgo.InstanceID(*instance))
	}
	more, err := settings(*file)
	return append(options, more...), err
}

func settings(file string) ([]kgo.Opt, error) {
	if file == "" {
		return nil, nil
	}
	opened, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	var options []kgo.Opt
	lines := bufio.NewScanner(opened)
	for lines.Scan() {
		name, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		switch name {
		case "":
		case "client.id":
			options = append(options, kgo.ClientID(value))
		case "heartbeat.interval.ms", "fetch.max.wait.ms":
			milliseconds, err := strconv.Atoi(value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			time := time.Duration(milliseconds) * time.Millisecond
			if name == "heartbeat.interval.ms" {
				options = append(options, kgo.HeartbeatInterval(time))
			} else {
				options = append(options, kgo.FetchMaxWait(time))
			}
		default:
			return nil, fmt.Errorf("%s: unknown setting %s", file, name)
		}
	}
	return options, lines.Err()
}

func tell(name string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, named map[string][]int32) {
		var partitions []partition
		for topic, indexes := range named {
			for _, index := range indexes {
				partitions = append(partitions, partition{Topic: topic, Partition: index})
			}
		}
		say(event{Name: name, Partitions: partitions})
	}
}

func main() {
	options, err := options()
	if err != nil {
		fail(err)
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		fail(err)
	}
	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	say(event{Name: "startup_complete"})
	for told.Err() == nil {
		read(told, client)
	}
	client.CloseAllowingRebalance()
	say(event{Name: "shutdown_complete"})
}

// read polls once, tells what came and commits it; only then may the group rebalance.
func read(told context.Context, client *kgo.Client) {
	waiting, cancel := context.WithTimeout(told, pollTime)
	defer cancel()
	fetches := client.PollFetches(waiting)
	defer client.AllowRebalance()
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			fmt.Fprintf(os.Stderr, "franz-member: %s-%d: %v\n", topic, partition, err)
		}
	})
	records := fetches.Records()
	if len(records) == 0 {
		return
	}
	consumed := event{Name: "records_consumed", Count: len(records)}
	committed := event{Name: "offsets_committed", Success: new(bool)}
	fetches.EachPartition(func(of kgo.FetchTopicPartition) {
		if len(of.Records) == 0 {
			return
		}
		first, last := of.Records[0].Offset, of.Records[len(of.Records)-1].Offset
		consumed.Partitions = append(consumed.Partitions, partition{of.Topic, of.Partition, len(of.Records), &first, &last})
		committed.Offsets = append(committed.Offsets, offset{of.Topic, of.Partition, last + 1})
	})
	say(consumed)
	err := client.CommitRecords(context.Background(), records...)
	*committed.Success = err == nil
	if err != nil {
		committed.Error = err.Error()
	}
	say(committed)
}
