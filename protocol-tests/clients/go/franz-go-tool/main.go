// franz-go.
package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ottla-other-clients/commandline"
)

func main() {
	commandline.Run(commandline.Client{Produce: produce, Consume: consume, Admin: admin})
}

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

// produce is idempotent anyway.
func produce(bootstrap, topic, codec string, _ bool, letters []commandline.Letter) error {
	compression, known := codecs[codec]
	if !known {
		return fmt.Errorf("no such codec: %s", codec)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(compression))
	if err != nil {
		return err
	}
	defer client.Close()
	records := make([]*kgo.Record, len(letters))
	for index, letter := range letters {
		records[index] = kgo.KeyStringRecord(letter.Key, letter.Value)
	}
	if err := client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		return err
	}
	for _, record := range records {
		say(record)
	}
	return nil
}

func say(record *kgo.Record) {
	commandline.Say(commandline.Record{
		Partition: record.Partition, Offset: record.Offset, Key: string(record.Key), Value: string(record.Value),
	})
}

// assignment is what the member has; it is told of changes.
type assignment struct {
	mutex      sync.Mutex
	partitions []int32
}

func (a *assignment) change(change func([]int32) []int32) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.partitions = change(a.partitions)
	slices.Sort(a.partitions)
	commandline.SayAssigned(a.partitions)
}

func consume(running context.Context, bootstrap, topic, group string) error {
	var assigned assignment
	lost := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		assigned.change(func(had []int32) []int32 {
			return slices.DeleteFunc(had, func(partition int32) bool { return slices.Contains(partitions[topic], partition) })
		})
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		kgo.ConsumeTopics(topic),
		kgo.ConsumerGroup(group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			assigned.change(func(had []int32) []int32 { return append(had, partitions[topic]...) })
		}),
		kgo.OnPartitionsRevoked(lost),
		kgo.OnPartitionsLost(lost),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for running.Err() == nil {
		fetches := client.PollFetches(running)
		if err := fetches.Err(); err != nil && running.Err() == nil {
			return err
		}
		fetches.EachRecord(say)
		if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

func admin(bootstrap string) (func(commandline.Request) (any, error), error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...))
	if err != nil {
		return nil, err
	}
	return func(request commandline.Request) (any, error) {
		operation, known := operations[request.Op]
		if !known {
			return nil, commandline.ErrUnsupported
		}
		return operation(client, request)
	}, nil
}

// refused is the error that a code stands for.
func refused(code int16) error {
	if err := kerr.ErrorForCode(code); err != nil {
		return &commandline.Refused{Code: code, Text: err.Error()}
	}
	return nil
}

const timeoutMillis = 30_000

// What franz-go's client does with requests is to find out whom to ask, in which version, and to ask again.
var operations = map[string]func(*kgo.Client, commandline.Request) (any, error){
	"describe_cluster": func(client *kgo.Client, _ commandline.Request) (any, error) {
		response, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		ids := []int32{}
		for _, broker := range response.Brokers {
			ids = append(ids, broker.NodeID)
		}
		slices.Sort(ids)
		return ids, refused(response.ErrorCode)
	},
	"create_topic": func(client *kgo.Client, asked commandline.Request) (any, error) {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = asked.Topic, asked.Count(), asked.Replicas
		for name, value := range asked.Config {
			config := kmsg.NewCreateTopicsRequestTopicConfig()
			config.Name, config.Value = name, &value
			topic.Configs = append(topic.Configs, config)
		}
		request := kmsg.NewPtrCreateTopicsRequest()
		request.Topics, request.TimeoutMillis = append(request.Topics, topic), timeoutMillis
		response, err := request.RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		return nil, refused(response.Topics[0].ErrorCode)
	},
	"list_topics": func(client *kgo.Client, _ commandline.Request) (any, error) {
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = nil // all of them
		response, err := request.RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		names := []string{}
		for _, topic := range response.Topics {
			names = append(names, *topic.Topic)
		}
		slices.Sort(names)
		return names, nil
	},
	"describe_topic": func(client *kgo.Client, asked commandline.Request) (any, error) {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &asked.Topic
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = append(request.Topics, topic)
		response, err := request.RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		partitions := make([]commandline.PartitionDescription, len(response.Topics[0].Partitions))
		for _, partition := range response.Topics[0].Partitions {
			partitions[partition.Partition] = commandline.PartitionDescription{
				Leader: partition.Leader, Replicas: partition.Replicas, InSync: partition.ISR,
			}
		}
		return partitions, refused(response.Topics[0].ErrorCode)
	},
	"grow_topic": func(client *kgo.Client, asked commandline.Request) (any, error) {
		topic := kmsg.NewCreatePartitionsRequestTopic()
		topic.Topic, topic.Count = asked.Topic, asked.Count()
		request := kmsg.NewPtrCreatePartitionsRequest()
		request.Topics, request.TimeoutMillis = append(request.Topics, topic), timeoutMillis
		response, err := request.RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		return nil, refused(response.Topics[0].ErrorCode)
	},
	"topic_config": func(client *kgo.Client, asked commandline.Request) (any, error) {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, asked.Topic
		resource.ConfigNames = []string{asked.Name}
		request := kmsg.NewPtrDescribeConfigsRequest()
		request.Resources = append(request.Resources, resource)
		response, err := request.RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		described := response.Resources[0]
		if described.ErrorCode != 0 || len(described.Configs) == 0 {
			return nil, refused(described.ErrorCode)
		}
		return described.Configs[0].Value, nil
	},
	"set_topic_config": func(client *kgo.Client, asked commandline.Request) (any, error) {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Op, config.Value = asked.Name, kmsg.IncrementalAlterConfigOpSet, &asked.Value
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, asked.Topic
		resource.Configs = append(resource.Configs, config)
		request := kmsg.NewPtrIncrementalAlterConfigsRequest()
		request.Resources = append(request.Resources, resource)
		response, err := request.RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		return nil, refused(response.Resources[0].ErrorCode)
	},
	"delete_records": func(client *kgo.Client, asked commandline.Request) (any, error) {
		partition := kmsg.NewDeleteRecordsRequestTopicPartition()
		partition.Partition, partition.Offset = asked.Partition, asked.Offset
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic, topic.Partitions = asked.Topic, append(topic.Partitions, partition)
		request := kmsg.NewPtrDeleteRecordsRequest()
		request.Topics, request.TimeoutMillis = append(request.Topics, topic), timeoutMillis
		response, err := request.RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		deleted := response.Topics[0].Partitions[0]
		return deleted.LowWatermark, refused(deleted.ErrorCode)
	},
	"delete_topic": func(client *kgo.Client, asked commandline.Request) (any, error) {
		topic := kmsg.NewDeleteTopicsRequestTopic()
		topic.Topic = &asked.Topic
		request := kmsg.NewPtrDeleteTopicsRequest()
		request.Topics, request.TopicNames = append(request.Topics, topic), []string{asked.Topic}
		request.TimeoutMillis = timeoutMillis
		response, err := request.RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		return nil, refused(response.Topics[0].ErrorCode)
	},
	"list_groups": func(client *kgo.Client, _ commandline.Request) (any, error) {
		response, err := kmsg.NewPtrListGroupsRequest().RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		ids := []string{}
		for _, group := range response.Groups {
			ids = append(ids, group.Group)
		}
		slices.Sort(ids)
		return ids, refused(response.ErrorCode)
	},
	"describe_group":       describeGroup,
	"group_offsets":        groupOffsets,
	"delete_group_offsets": deleteGroupOffsets,
	"delete_group": func(client *kgo.Client, asked commandline.Request) (any, error) {
		request := kmsg.NewPtrDeleteGroupsRequest()
		request.Groups = []string{asked.Group}
		response, err := request.RequestWith(context.Background(), client)
		if err != nil {
			return nil, err
		}
		return nil, refused(response.Groups[0].ErrorCode)
	},
}

func describeGroup(client *kgo.Client, asked commandline.Request) (any, error) {
	request := kmsg.NewPtrDescribeGroupsRequest()
	request.Groups = []string{asked.Group}
	response, err := request.RequestWith(context.Background(), client)
	if err != nil {
		return nil, err
	}
	described := response.Groups[0]
	members := [][]int32{}
	for _, member := range described.Members {
		var assignment kmsg.ConsumerMemberAssignment
		partitions := []int32{}
		if len(member.MemberAssignment) > 0 {
			if err := assignment.ReadFrom(member.MemberAssignment); err != nil {
				return nil, err
			}
		}
		for _, topic := range assignment.Topics {
			partitions = append(partitions, topic.Partitions...)
		}
		slices.Sort(partitions)
		members = append(members, partitions)
	}
	slices.SortFunc(members, slices.Compare)
	return commandline.GroupDescription{State: described.State, Members: members}, refused(described.ErrorCode)
}

func groupOffsets(client *kgo.Client, asked commandline.Request) (any, error) {
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = asked.Group
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group, request.Groups = asked.Group, append(request.Groups, group)
	response, err := request.RequestWith(context.Background(), client)
	if err != nil {
		return nil, err
	}
	found := response.Groups[0]
	offsets := map[string]int64{}
	for _, topic := range found.Topics {
		if topic.Topic != asked.Topic {
			continue
		}
		for _, partition := range topic.Partitions {
			offsets[strconv.Itoa(int(partition.Partition))] = partition.Offset
		}
	}
	return offsets, refused(found.ErrorCode)
}

func deleteGroupOffsets(client *kgo.Client, asked commandline.Request) (any, error) {
	topic := kmsg.NewOffsetDeleteRequestTopic()
	topic.Topic = asked.Topic
	for _, index := range asked.List() {
		partition := kmsg.NewOffsetDeleteRequestTopicPartition()
		partition.Partition = index
		topic.Partitions = append(topic.Partitions, partition)
	}
	request := kmsg.NewPtrOffsetDeleteRequest()
	request.Group, request.Topics = asked.Group, append(request.Topics, topic)
	response, err := request.RequestWith(context.Background(), client)
	if err != nil {
		return nil, err
	}
	if response.ErrorCode != 0 {
		return nil, refused(response.ErrorCode)
	}
	return nil, refused(response.Topics[0].Partitions[0].ErrorCode)
}
