//! The commands of Redis 7 and 8 and of Valkey: how many arguments they take, and which of those are keys. As `COMMAND` of a server
//! lists them (<https://redis.io/docs/latest/commands/command/>).

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    /// In upper case; of a container (`CLIENT`), with the subcommand.
    pub(super) name: &'static str,
    /// Arguments including the name's first word; if negative, so many or more.
    arity: i8,
    pub(super) keys: Keys,
    pub(super) kind: Kind,
    /// Its first argument is a subcommand.
    pub(super) container: bool,
}

/// Which arguments are keys or channels. Argument 0 is the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    None,
    /// Each `step`th from `first` to `last`; a negative `last` counts from the end.
    Range {
        first: u8,
        last: i8,
        step: u8,
    },
    /// Argument `count` says how many follow it; the first is one as well if `destination`.
    Counted {
        destination: bool,
        count: u8,
    },
    /// The first half of those behind `STREAMS`.
    Streams,
}

/// What is particular about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// What clients send unasked when they connect.
    Session,
    /// That, and older servers refuse it.
    Optional,
    /// What clients send when they connect, and its arguments are secret.
    Login,
    /// Its arguments may hold passwords.
    Secret,
    /// It calls the script or function that its first argument names.
    Script,
    /// Monitoring asks for it; so do some clients when they connect, without arguments.
    Info,
    Select,
    Subscribe,
    Unsubscribe,
    Reset,
    Monitor,
    ClientReply,
    /// What follows is the stream of a replica.
    Replicate,
    /// What a replica says before and in the midst of that stream.
    Acknowledge,
}

impl Command {
    /// The command of these words, `second` being the argument behind the name. A container with a subcommand that is not known
    /// is known by itself.
    pub(super) fn find(first: &[u8], second: Option<&[u8]>) -> Option<&'static Self> {
        let command = find(&[first])?;
        let subcommand = second.filter(|_| command.container).and_then(|second| find(&[first, b" ", second]));
        subcommand.or(Some(command))
    }

    /// May it have so many arguments, the name among them?
    pub(super) fn takes(&self, arguments: u64) -> bool {
        let count = u64::from(self.arity.unsigned_abs());
        if self.arity < 0 { arguments >= count } else { arguments == count }
    }

    const fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    const fn container(self) -> Self {
        Self { container: true, ..self }
    }
}

/// Those that modules bring are not listed; their names start with the module's.
pub(super) fn is_of_module(name: &[u8]) -> bool {
    const MODULES: [&[u8]; 8] = [b"BF.", b"CF.", b"CMS.", b"FT.", b"JSON.", b"TDIGEST.", b"TOPK.", b"TS."];
    MODULES.iter().any(|module| name.get(..module.len()).is_some_and(|start| start.eq_ignore_ascii_case(module)))
}

/// What a name can be, known or not: nothing else is taken for one.
pub(super) fn is_name(word: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    word.len() <= NAME_BYTES_MAX && word.first().is_some_and(u8::is_ascii_alphabetic) && word.iter().all(inner)
}

/// No name is longer.
pub(super) const NAME_BYTES_MAX: usize = 40;

fn find(parts: &[&[u8]]) -> Option<&'static Command> {
    let mut upper = [0; NAME_BYTES_MAX];
    let mut len = 0;
    for part in parts {
        upper.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    upper.make_ascii_uppercase();
    let name = upper.get(..len)?;
    let found = COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(name)).ok()?;
    COMMANDS.get(found)
}

const fn of(name: &'static str, arity: i8, keys: Keys) -> Command {
    Command { name, arity, keys, kind: Kind::Plain, container: false }
}

const fn range(first: u8, last: i8, step: u8) -> Keys {
    Keys::Range { first, last, step }
}

const fn counted(destination: u8, count: u8) -> Keys {
    Keys::Counted { destination: destination > 0, count }
}

const ONE: Keys = range(1, 1, 1);
const ALL: Keys = range(1, -1, 1);

/// By name.
static COMMANDS: [Command; 436] = [
    of("ACL", -2, Keys::None).kind(Kind::Secret).container(),
    of("ACL CAT", -2, Keys::None),
    of("ACL DELUSER", -3, Keys::None),
    of("ACL DRYRUN", -4, Keys::None),
    of("ACL GENPASS", -2, Keys::None),
    of("ACL GETUSER", 3, Keys::None),
    of("ACL HELP", 2, Keys::None),
    of("ACL LIST", 2, Keys::None),
    of("ACL LOAD", 2, Keys::None),
    of("ACL LOG", -2, Keys::None),
    of("ACL SAVE", 2, Keys::None),
    of("ACL SETUSER", -3, Keys::None).kind(Kind::Secret),
    of("ACL USERS", 2, Keys::None),
    of("ACL WHOAMI", 2, Keys::None),
    of("APPEND", 3, ONE),
    of("ASKING", 1, Keys::None).kind(Kind::Session),
    of("AUTH", -2, Keys::None).kind(Kind::Login),
    of("BGREWRITEAOF", 1, Keys::None),
    of("BGSAVE", -1, Keys::None),
    of("BITCOUNT", -2, ONE),
    of("BITFIELD", -2, ONE),
    of("BITFIELD_RO", -2, ONE),
    of("BITOP", -4, range(2, -1, 1)),
    of("BITPOS", -3, ONE),
    of("BLMOVE", 6, range(1, 2, 1)),
    of("BLMPOP", -5, counted(0, 2)),
    of("BLPOP", -3, range(1, -2, 1)),
    of("BRPOP", -3, range(1, -2, 1)),
    of("BRPOPLPUSH", 4, range(1, 2, 1)),
    of("BZMPOP", -5, counted(0, 2)),
    of("BZPOPMAX", -3, range(1, -2, 1)),
    of("BZPOPMIN", -3, range(1, -2, 1)),
    of("CLIENT", -2, Keys::None).container(),
    of("CLIENT CACHING", 3, Keys::None).kind(Kind::Session),
    of("CLIENT CAPA", -3, Keys::None).kind(Kind::Optional),
    of("CLIENT GETNAME", 2, Keys::None),
    of("CLIENT GETREDIR", 2, Keys::None),
    of("CLIENT HELP", 2, Keys::None),
    of("CLIENT ID", 2, Keys::None),
    of("CLIENT IMPORT-SOURCE", 3, Keys::None).kind(Kind::Session),
    of("CLIENT INFO", 2, Keys::None),
    of("CLIENT KILL", -3, Keys::None),
    of("CLIENT LIST", -2, Keys::None),
    of("CLIENT MAINT_NOTIFICATIONS", -3, Keys::None).kind(Kind::Optional),
    of("CLIENT NO-EVICT", 3, Keys::None).kind(Kind::Session),
    of("CLIENT NO-TOUCH", 3, Keys::None).kind(Kind::Session),
    of("CLIENT PAUSE", -3, Keys::None),
    of("CLIENT REPLY", 3, Keys::None).kind(Kind::ClientReply),
    of("CLIENT SETINFO", 4, Keys::None).kind(Kind::Optional),
    of("CLIENT SETNAME", 3, Keys::None).kind(Kind::Session),
    of("CLIENT TRACKING", -3, Keys::None).kind(Kind::Session),
    of("CLIENT TRACKINGINFO", 2, Keys::None),
    of("CLIENT UNBLOCK", -3, Keys::None),
    of("CLIENT UNPAUSE", 2, Keys::None),
    of("CLUSTER", -2, Keys::None).container(),
    of("CLUSTER ADDSLOTS", -3, Keys::None),
    of("CLUSTER ADDSLOTSRANGE", -4, Keys::None),
    of("CLUSTER BUMPEPOCH", 2, Keys::None),
    of("CLUSTER CANCELSLOTMIGRATIONS", 2, Keys::None),
    of("CLUSTER COUNT-FAILURE-REPORTS", 3, Keys::None),
    of("CLUSTER COUNTKEYSINSLOT", 3, Keys::None),
    of("CLUSTER DELSLOTS", -3, Keys::None),
    of("CLUSTER DELSLOTSRANGE", -4, Keys::None),
    of("CLUSTER FAILOVER", -2, Keys::None),
    of("CLUSTER FLUSHSLOTS", 2, Keys::None),
    of("CLUSTER FORGET", 3, Keys::None),
    of("CLUSTER GETKEYSINSLOT", 4, Keys::None),
    of("CLUSTER GETSLOTMIGRATIONS", 2, Keys::None),
    of("CLUSTER HELP", 2, Keys::None),
    of("CLUSTER INFO", 2, Keys::None),
    of("CLUSTER KEYSLOT", 3, Keys::None),
    of("CLUSTER LINKS", 2, Keys::None),
    of("CLUSTER MEET", -4, Keys::None),
    of("CLUSTER MIGRATESLOTS", -4, Keys::None),
    of("CLUSTER MYID", 2, Keys::None),
    of("CLUSTER MYSHARDID", 2, Keys::None),
    of("CLUSTER NODES", 2, Keys::None),
    of("CLUSTER REPLICAS", 3, Keys::None),
    of("CLUSTER REPLICATE", 3, Keys::None),
    of("CLUSTER RESET", -2, Keys::None),
    of("CLUSTER SAVECONFIG", 2, Keys::None),
    of("CLUSTER SET-CONFIG-EPOCH", 3, Keys::None),
    of("CLUSTER SETSLOT", -4, Keys::None),
    of("CLUSTER SHARDS", 2, Keys::None),
    of("CLUSTER SLAVES", 3, Keys::None),
    of("CLUSTER SLOT-STATS", -4, Keys::None),
    of("CLUSTER SLOTS", 2, Keys::None),
    of("COMMAND", -1, Keys::None).kind(Kind::Session).container(),
    of("COMMAND COUNT", 2, Keys::None),
    of("COMMAND DOCS", -2, Keys::None).kind(Kind::Optional),
    of("COMMAND GETKEYS", -4, Keys::None),
    of("COMMAND GETKEYSANDFLAGS", -4, Keys::None),
    of("COMMAND HELP", 2, Keys::None),
    of("COMMAND INFO", -2, Keys::None),
    of("COMMAND LIST", -2, Keys::None),
    of("COMMANDLOG", -2, Keys::None).container(),
    of("COMMANDLOG GET", -2, Keys::None),
    of("COMMANDLOG HELP", -2, Keys::None),
    of("COMMANDLOG LEN", -2, Keys::None),
    of("COMMANDLOG RESET", -2, Keys::None),
    of("CONFIG", -2, Keys::None).kind(Kind::Secret).container(),
    of("CONFIG GET", -3, Keys::None),
    of("CONFIG HELP", 2, Keys::None),
    of("CONFIG RESETSTAT", 2, Keys::None),
    of("CONFIG REWRITE", 2, Keys::None),
    of("CONFIG SET", -4, Keys::None).kind(Kind::Secret),
    of("COPY", -3, range(1, 2, 1)),
    of("DBSIZE", 1, Keys::None),
    of("DEBUG", -2, Keys::None),
    of("DECR", 2, ONE),
    of("DECRBY", 3, ONE),
    of("DEL", -2, ALL),
    of("DELEX", -2, ONE),
    of("DELIFEQ", 3, ONE),
    of("DIGEST", 2, ONE),
    of("DISCARD", 1, Keys::None),
    of("DUMP", 2, ONE),
    of("ECHO", 2, Keys::None),
    of("EVAL", -3, counted(0, 2)),
    of("EVALSHA", -3, counted(0, 2)).kind(Kind::Script),
    of("EVALSHA_RO", -3, counted(0, 2)).kind(Kind::Script),
    of("EVAL_RO", -3, counted(0, 2)),
    of("EXEC", 1, Keys::None),
    of("EXISTS", -2, ALL),
    of("EXPIRE", -3, ONE),
    of("EXPIREAT", -3, ONE),
    of("EXPIRETIME", 2, ONE),
    of("FAILOVER", -1, Keys::None),
    of("FCALL", -3, counted(0, 2)).kind(Kind::Script),
    of("FCALL_RO", -3, counted(0, 2)).kind(Kind::Script),
    of("FLUSHALL", -1, Keys::None),
    of("FLUSHDB", -1, Keys::None),
    of("FUNCTION", -2, Keys::None).container(),
    of("FUNCTION DELETE", 3, Keys::None),
    of("FUNCTION DUMP", 2, Keys::None),
    of("FUNCTION FLUSH", -2, Keys::None),
    of("FUNCTION HELP", 2, Keys::None),
    of("FUNCTION KILL", 2, Keys::None),
    of("FUNCTION LIST", -2, Keys::None),
    of("FUNCTION LOAD", -3, Keys::None),
    of("FUNCTION RESTORE", -3, Keys::None),
    of("FUNCTION STATS", 2, Keys::None),
    of("GEOADD", -5, ONE),
    of("GEODIST", -4, ONE),
    of("GEOHASH", -2, ONE),
    of("GEOPOS", -2, ONE),
    of("GEORADIUS", -6, ONE),
    of("GEORADIUSBYMEMBER", -5, ONE),
    of("GEORADIUSBYMEMBER_RO", -5, ONE),
    of("GEORADIUS_RO", -6, ONE),
    of("GEOSEARCH", -7, ONE),
    of("GEOSEARCHSTORE", -8, range(1, 2, 1)),
    of("GET", 2, ONE),
    of("GETBIT", 3, ONE),
    of("GETDEL", 2, ONE),
    of("GETEX", -2, ONE),
    of("GETRANGE", 4, ONE),
    of("GETSET", 3, ONE),
    of("HDEL", -3, ONE),
    of("HELLO", -1, Keys::None).kind(Kind::Login),
    of("HEXISTS", 3, ONE),
    of("HEXPIRE", -6, ONE),
    of("HEXPIREAT", -6, ONE),
    of("HEXPIRETIME", -5, ONE),
    of("HGET", 3, ONE),
    of("HGETALL", 2, ONE),
    of("HGETDEL", -5, ONE),
    of("HGETEX", -5, ONE),
    of("HINCRBY", 4, ONE),
    of("HINCRBYFLOAT", 4, ONE),
    of("HKEYS", 2, ONE),
    of("HLEN", 2, ONE),
    of("HMGET", -3, ONE),
    of("HMSET", -4, ONE),
    of("HPERSIST", -5, ONE),
    of("HPEXPIRE", -6, ONE),
    of("HPEXPIREAT", -6, ONE),
    of("HPEXPIRETIME", -5, ONE),
    of("HPTTL", -5, ONE),
    of("HRANDFIELD", -2, ONE),
    of("HSCAN", -3, ONE),
    of("HSET", -4, ONE),
    of("HSETEX", -6, ONE),
    of("HSETNX", 4, ONE),
    of("HSTRLEN", 3, ONE),
    of("HTTL", -5, ONE),
    of("HVALS", 2, ONE),
    of("INCR", 2, ONE),
    of("INCRBY", 3, ONE),
    of("INCRBYFLOAT", 3, ONE),
    of("INFO", -1, Keys::None).kind(Kind::Info),
    of("KEYS", 2, Keys::None),
    of("LASTSAVE", 1, Keys::None),
    of("LATENCY", -2, Keys::None).container(),
    of("LATENCY DOCTOR", 2, Keys::None),
    of("LATENCY GRAPH", 3, Keys::None),
    of("LATENCY HELP", 2, Keys::None),
    of("LATENCY HISTOGRAM", -2, Keys::None),
    of("LATENCY HISTORY", 3, Keys::None),
    of("LATENCY LATEST", 2, Keys::None),
    of("LATENCY RESET", -2, Keys::None),
    of("LCS", -3, range(1, 2, 1)),
    of("LINDEX", 3, ONE),
    of("LINSERT", 5, ONE),
    of("LLEN", 2, ONE),
    of("LMOVE", 5, range(1, 2, 1)),
    of("LMPOP", -4, counted(0, 1)),
    of("LOLWUT", -1, Keys::None),
    of("LPOP", -2, ONE),
    of("LPOS", -3, ONE),
    of("LPUSH", -3, ONE),
    of("LPUSHX", -3, ONE),
    of("LRANGE", 4, ONE),
    of("LREM", 4, ONE),
    of("LSET", 4, ONE),
    of("LTRIM", 4, ONE),
    of("MEMORY", -2, Keys::None).container(),
    of("MEMORY DOCTOR", 2, Keys::None),
    of("MEMORY HELP", 2, Keys::None),
    of("MEMORY MALLOC-STATS", 2, Keys::None),
    of("MEMORY PURGE", 2, Keys::None),
    of("MEMORY STATS", 2, Keys::None),
    of("MEMORY USAGE", -3, range(2, 2, 1)),
    of("MGET", -2, ALL),
    of("MIGRATE", -6, Keys::None).kind(Kind::Secret),
    of("MODULE", -2, Keys::None).kind(Kind::Secret).container(),
    of("MODULE HELP", 2, Keys::None),
    of("MODULE LIST", 2, Keys::None),
    of("MODULE LOAD", -3, Keys::None).kind(Kind::Secret),
    of("MODULE LOADEX", -3, Keys::None).kind(Kind::Secret),
    of("MODULE UNLOAD", 3, Keys::None),
    of("MONITOR", 1, Keys::None).kind(Kind::Monitor),
    of("MOVE", 3, ONE),
    of("MSET", -3, range(1, -1, 2)),
    of("MSETEX", -4, Keys::None),
    of("MSETNX", -3, range(1, -1, 2)),
    of("MULTI", 1, Keys::None),
    of("OBJECT", -2, Keys::None).container(),
    of("OBJECT ENCODING", 3, range(2, 2, 1)),
    of("OBJECT FREQ", 3, range(2, 2, 1)),
    of("OBJECT HELP", 2, Keys::None),
    of("OBJECT IDLETIME", 3, range(2, 2, 1)),
    of("OBJECT REFCOUNT", 3, range(2, 2, 1)),
    of("PERSIST", 2, ONE),
    of("PEXPIRE", -3, ONE),
    of("PEXPIREAT", -3, ONE),
    of("PEXPIRETIME", 2, ONE),
    of("PFADD", -2, ONE),
    of("PFCOUNT", -2, ALL),
    of("PFMERGE", -2, ALL),
    of("PING", -1, Keys::None),
    of("PSETEX", 4, ONE),
    of("PSUBSCRIBE", -2, ALL).kind(Kind::Subscribe),
    of("PSYNC", -3, Keys::None).kind(Kind::Replicate),
    of("PTTL", 2, ONE),
    of("PUBLISH", 3, ONE),
    of("PUBSUB", -2, Keys::None).container(),
    of("PUBSUB CHANNELS", -2, Keys::None),
    of("PUBSUB HELP", 2, Keys::None),
    of("PUBSUB NUMPAT", 2, Keys::None),
    of("PUBSUB NUMSUB", -2, Keys::None),
    of("PUBSUB SHARDCHANNELS", -2, Keys::None),
    of("PUBSUB SHARDNUMSUB", -2, Keys::None),
    of("PUNSUBSCRIBE", -1, ALL).kind(Kind::Unsubscribe),
    of("QUIT", -1, Keys::None).kind(Kind::Session),
    of("RANDOMKEY", 1, Keys::None),
    of("READONLY", 1, Keys::None).kind(Kind::Session),
    of("READWRITE", 1, Keys::None).kind(Kind::Session),
    of("RENAME", 3, range(1, 2, 1)),
    of("RENAMENX", 3, range(1, 2, 1)),
    of("REPLCONF", -1, Keys::None).kind(Kind::Acknowledge),
    of("REPLICAOF", 3, Keys::None),
    of("RESET", 1, Keys::None).kind(Kind::Reset),
    of("RESTORE", -4, ONE),
    of("RESTORE-ASKING", -4, ONE),
    of("ROLE", 1, Keys::None),
    of("RPOP", -2, ONE),
    of("RPOPLPUSH", 3, range(1, 2, 1)),
    of("RPUSH", -3, ONE),
    of("RPUSHX", -3, ONE),
    of("SADD", -3, ONE),
    of("SAVE", 1, Keys::None),
    of("SCAN", -2, Keys::None),
    of("SCARD", 2, ONE),
    of("SCRIPT", -2, Keys::None).container(),
    of("SCRIPT DEBUG", 3, Keys::None),
    of("SCRIPT EXISTS", -3, Keys::None),
    of("SCRIPT FLUSH", -2, Keys::None),
    of("SCRIPT HELP", 2, Keys::None),
    of("SCRIPT KILL", 2, Keys::None),
    of("SCRIPT LOAD", 3, Keys::None),
    of("SDIFF", -2, ALL),
    of("SDIFFSTORE", -3, ALL),
    of("SELECT", 2, Keys::None).kind(Kind::Select),
    of("SENTINEL", -2, Keys::None).kind(Kind::Secret).container(),
    of("SENTINEL CKQUORUM", -2, Keys::None),
    of("SENTINEL CONFIG", -2, Keys::None).kind(Kind::Secret),
    of("SENTINEL DEBUG", -2, Keys::None),
    of("SENTINEL FAILOVER", -2, Keys::None),
    of("SENTINEL FLUSHCONFIG", -2, Keys::None),
    of("SENTINEL GET-MASTER-ADDR-BY-NAME", -2, Keys::None),
    of("SENTINEL GET-PRIMARY-ADDR-BY-NAME", -2, Keys::None),
    of("SENTINEL HELP", -2, Keys::None),
    of("SENTINEL INFO-CACHE", -2, Keys::None),
    of("SENTINEL IS-MASTER-DOWN-BY-ADDR", -2, Keys::None),
    of("SENTINEL IS-PRIMARY-DOWN-BY-ADDR", -2, Keys::None),
    of("SENTINEL MASTER", -2, Keys::None),
    of("SENTINEL MASTERS", -2, Keys::None),
    of("SENTINEL MONITOR", -2, Keys::None).kind(Kind::Secret),
    of("SENTINEL MYID", -2, Keys::None),
    of("SENTINEL PENDING-SCRIPTS", -2, Keys::None),
    of("SENTINEL PRIMARIES", -2, Keys::None),
    of("SENTINEL PRIMARY", -2, Keys::None),
    of("SENTINEL REMOVE", -2, Keys::None),
    of("SENTINEL REPLICAS", -2, Keys::None),
    of("SENTINEL RESET", -2, Keys::None),
    of("SENTINEL SENTINELS", -2, Keys::None),
    of("SENTINEL SET", -2, Keys::None).kind(Kind::Secret),
    of("SENTINEL SIMULATE-FAILURE", -2, Keys::None),
    of("SENTINEL SLAVES", -2, Keys::None),
    of("SET", -3, ONE),
    of("SETBIT", 4, ONE),
    of("SETEX", 4, ONE),
    of("SETNX", 3, ONE),
    of("SETRANGE", 4, ONE),
    of("SHUTDOWN", -1, Keys::None),
    of("SINTER", -2, ALL),
    of("SINTERCARD", -3, counted(0, 1)),
    of("SINTERSTORE", -3, ALL),
    of("SISMEMBER", 3, ONE),
    of("SLAVEOF", 3, Keys::None),
    of("SLOWLOG", -2, Keys::None).container(),
    of("SLOWLOG GET", -2, Keys::None),
    of("SLOWLOG HELP", 2, Keys::None),
    of("SLOWLOG LEN", 2, Keys::None),
    of("SLOWLOG RESET", 2, Keys::None),
    of("SMEMBERS", 2, ONE),
    of("SMISMEMBER", -3, ONE),
    of("SMOVE", 4, range(1, 2, 1)),
    of("SORT", -2, ONE),
    of("SORT_RO", -2, ONE),
    of("SPOP", -2, ONE),
    of("SPUBLISH", 3, ONE),
    of("SRANDMEMBER", -2, ONE),
    of("SREM", -3, ONE),
    of("SSCAN", -3, ONE),
    of("SSUBSCRIBE", -2, ALL).kind(Kind::Subscribe),
    of("STRLEN", 2, ONE),
    of("SUBSCRIBE", -2, ALL).kind(Kind::Subscribe),
    of("SUBSTR", 4, ONE),
    of("SUNION", -2, ALL),
    of("SUNIONSTORE", -3, ALL),
    of("SUNSUBSCRIBE", -1, ALL).kind(Kind::Unsubscribe),
    of("SWAPDB", 3, Keys::None),
    of("SYNC", 1, Keys::None).kind(Kind::Replicate),
    of("TIME", 1, Keys::None),
    of("TOUCH", -2, ALL),
    of("TTL", 2, ONE),
    of("TYPE", 2, ONE),
    of("UNLINK", -2, ALL),
    of("UNSUBSCRIBE", -1, ALL).kind(Kind::Unsubscribe),
    of("UNWATCH", 1, Keys::None),
    of("VADD", -5, ONE),
    of("VCARD", 2, ONE),
    of("VDIM", 2, ONE),
    of("VEMB", -3, ONE),
    of("VGETATTR", 3, ONE),
    of("VINFO", 2, ONE),
    of("VISMEMBER", 3, ONE),
    of("VLINKS", -3, ONE),
    of("VRANDMEMBER", -2, ONE),
    of("VREM", 3, ONE),
    of("VSETATTR", 4, ONE),
    of("VSIM", -4, ONE),
    of("WAIT", 3, Keys::None),
    of("WAITAOF", 4, Keys::None),
    of("WATCH", -2, ALL),
    of("XACK", -4, ONE),
    of("XACKDEL", -6, ONE),
    of("XADD", -5, ONE),
    of("XAUTOCLAIM", -6, ONE),
    of("XCLAIM", -6, ONE),
    of("XDEL", -3, ONE),
    of("XDELEX", -5, ONE),
    of("XGROUP", -2, Keys::None).container(),
    of("XGROUP CREATE", -5, range(2, 2, 1)),
    of("XGROUP CREATECONSUMER", 5, range(2, 2, 1)),
    of("XGROUP DELCONSUMER", 5, range(2, 2, 1)),
    of("XGROUP DESTROY", 4, range(2, 2, 1)),
    of("XGROUP HELP", 2, Keys::None),
    of("XGROUP SETID", -5, range(2, 2, 1)),
    of("XINFO", -2, Keys::None).container(),
    of("XINFO CONSUMERS", 4, range(2, 2, 1)),
    of("XINFO GROUPS", 3, range(2, 2, 1)),
    of("XINFO HELP", 2, Keys::None),
    of("XINFO STREAM", -3, range(2, 2, 1)),
    of("XLEN", 2, ONE),
    of("XPENDING", -3, ONE),
    of("XRANGE", -4, ONE),
    of("XREAD", -4, Keys::Streams),
    of("XREADGROUP", -7, Keys::Streams),
    of("XREVRANGE", -4, ONE),
    of("XSETID", -3, ONE),
    of("XTRIM", -4, ONE),
    of("ZADD", -4, ONE),
    of("ZCARD", 2, ONE),
    of("ZCOUNT", 4, ONE),
    of("ZDIFF", -3, counted(0, 1)),
    of("ZDIFFSTORE", -4, counted(1, 2)),
    of("ZINCRBY", 4, ONE),
    of("ZINTER", -3, counted(0, 1)),
    of("ZINTERCARD", -3, counted(0, 1)),
    of("ZINTERSTORE", -4, counted(1, 2)),
    of("ZLEXCOUNT", 4, ONE),
    of("ZMPOP", -4, counted(0, 1)),
    of("ZMSCORE", -3, ONE),
    of("ZPOPMAX", -2, ONE),
    of("ZPOPMIN", -2, ONE),
    of("ZRANDMEMBER", -2, ONE),
    of("ZRANGE", -4, ONE),
    of("ZRANGEBYLEX", -4, ONE),
    of("ZRANGEBYSCORE", -4, ONE),
    of("ZRANGESTORE", -5, range(1, 2, 1)),
    of("ZRANK", 3, ONE),
    of("ZREM", -3, ONE),
    of("ZREMRANGEBYLEX", 4, ONE),
    of("ZREMRANGEBYRANK", 4, ONE),
    of("ZREMRANGEBYSCORE", 4, ONE),
    of("ZREVRANGE", -4, ONE),
    of("ZREVRANGEBYLEX", -4, ONE),
    of("ZREVRANGEBYSCORE", -4, ONE),
    of("ZREVRANK", 3, ONE),
    of("ZSCAN", -3, ONE),
    of("ZSCORE", 3, ONE),
    of("ZUNION", -3, counted(0, 1)),
    of("ZUNIONSTORE", -4, counted(1, 2)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_fit() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        assert!(COMMANDS.iter().all(|command| command.name.len() <= NAME_BYTES_MAX));
        assert!(COMMANDS.iter().all(|command| command.name.split(' ').all(|word| is_name(word.as_bytes()))));
    }

    #[test]
    fn commands_are_found_by_their_words_in_any_case() {
        let name = |first: &[u8], second: Option<&[u8]>| Command::find(first, second).map(|command| command.name);
        assert_eq!(name(b"get", Some(b"client")), Some("GET"));
        assert_eq!(name(b"Client", Some(b"setinfo")), Some("CLIENT SETINFO"));
        assert_eq!(name(b"CLIENT", Some(b"NONSENSE")), Some("CLIENT"));
        assert_eq!(name(b"CLIENT", Some(&[b'x'; 99])), Some("CLIENT"));
        assert_eq!(name(b"GETTING", None), None);
        assert_eq!(name(&[b'x'; 99], None), None);
    }
}
