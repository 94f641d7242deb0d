//! The words that mean something to the reader, whatever case they are written in.

/// More than a keyword has.
const BYTES: usize = 16;

/// The word as a number, so that a lookup is a search among integers.
const fn packed(word: &[u8]) -> u128 {
    let (mut number, mut i) = (0, 0);
    while i < word.len() {
        number |= (word[i] as u128) << (8 * i);
        i += 1;
    }
    number
}

/// The first `length` bytes in upper case as a number; 0 where no keyword is as long.
fn number_of(text: &[u8], length: usize) -> u128 {
    let bytes = match text.first_chunk() {
        _ if !(2..BYTES).contains(&length) => return 0,
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; BYTES];
            bytes.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
            bytes
        }
    };
    let word = u128::from_le_bytes(bytes) & ((1 << (8 * length)) - 1);
    // Without this bit lower case is upper case, and nothing else of a word becomes a letter.
    word & !u128::from_le_bytes([0x20; BYTES])
}

macro_rules! keywords {
    ($($keyword:ident $name:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) enum Keyword {
            /// Any other word, or no word at all.
            #[default]
            Other,
            $($keyword),*
        }

        #[expect(non_upper_case_globals, reason = "they bear the names of what they stand for")]
        mod number {
            $(pub(super) const $keyword: u128 = super::packed($name);)*
        }

        impl Keyword {
            /// What the first `length` bytes mean.
            pub(super) fn of(text: &[u8], length: usize) -> Self {
                match number_of(text, length) {
                    $(number::$keyword => Self::$keyword,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

keywords! {
    Abort b"ABORT", Alter b"ALTER", Analyze b"ANALYZE", And b"AND", Array b"ARRAY", As b"AS", Begin b"BEGIN", Between b"BETWEEN",
    By b"BY", Call b"CALL", Case b"CASE", Check b"CHECK", Checkpoint b"CHECKPOINT", Close b"CLOSE", Cluster b"CLUSTER",
    Comment b"COMMENT", Commit b"COMMIT", Concurrently b"CONCURRENTLY", Copy b"COPY", Create b"CREATE", Data b"DATA",
    Database b"DATABASE", Date b"DATE", Deallocate b"DEALLOCATE", Declare b"DECLARE", Default b"DEFAULT", Delayed b"DELAYED",
    Delete b"DELETE", Desc b"DESC", Describe b"DESCRIBE", Discard b"DISCARD", Distinct b"DISTINCT", Do b"DO", Domain b"DOMAIN",
    Drop b"DROP", Dual b"DUAL", Else b"ELSE", End b"END", Event b"EVENT", Except b"EXCEPT", Exec b"EXEC", Execute b"EXECUTE",
    Exists b"EXISTS", Explain b"EXPLAIN", Extension b"EXTENSION", False b"FALSE", Fetch b"FETCH", Flush b"FLUSH", For b"FOR",
    Freeze b"FREEZE", From b"FROM", Full b"FULL", Function b"FUNCTION", Grant b"GRANT", Group b"GROUP", Handler b"HANDLER",
    Having b"HAVING", HighPriority b"HIGH_PRIORITY", If b"IF", Ignore b"IGNORE", In b"IN", Index b"INDEX", Insert b"INSERT",
    Intersect b"INTERSECT", Interval b"INTERVAL", Into b"INTO", Is b"IS", Join b"JOIN", Kill b"KILL", Lateral b"LATERAL",
    Like b"LIKE", Limit b"LIMIT", Listen b"LISTEN", Load b"LOAD", Lock b"LOCK", LowPriority b"LOW_PRIORITY",
    Materialized b"MATERIALIZED", Merge b"MERGE", Move b"MOVE", Not b"NOT", Notify b"NOTIFY", Null b"NULL", Of b"OF",
    Offset b"OFFSET", On b"ON", Only b"ONLY", Optimize b"OPTIMIZE", Or b"OR", Order b"ORDER", Policy b"POLICY",
    Prepare b"PREPARE", Procedure b"PROCEDURE", Publication b"PUBLICATION", Quick b"QUICK", Recursive b"RECURSIVE",
    Refresh b"REFRESH", Reindex b"REINDEX", Release b"RELEASE", Rename b"RENAME", Repair b"REPAIR", Replace b"REPLACE",
    Reset b"RESET", Returning b"RETURNING", Revoke b"REVOKE", Role b"ROLE", Rollback b"ROLLBACK", Rule b"RULE",
    Savepoint b"SAVEPOINT", Schema b"SCHEMA", Select b"SELECT", Sequence b"SEQUENCE", Server b"SERVER", Set b"SET",
    Show b"SHOW", Start b"START", Statistics b"STATISTICS", StraightJoin b"STRAIGHT_JOIN", Subscription b"SUBSCRIPTION",
    System b"SYSTEM", Table b"TABLE", Tables b"TABLES", Tablespace b"TABLESPACE", Then b"THEN", Time b"TIME",
    Timestamp b"TIMESTAMP", Transaction b"TRANSACTION", Trigger b"TRIGGER", True b"TRUE", Truncate b"TRUNCATE", Type b"TYPE",
    Union b"UNION", Unlisten b"UNLISTEN", Unlock b"UNLOCK", Update b"UPDATE", Use b"USE", User b"USER", Using b"USING",
    Vacuum b"VACUUM", Values b"VALUES", Verbose b"VERBOSE", View b"VIEW", When b"WHEN", Where b"WHERE", Window b"WINDOW",
    With b"WITH", Xa b"XA",
}

impl Keyword {
    /// Whether an expression may begin behind it, so that a sign there is a number's.
    pub(super) fn precedes_expression(self) -> bool {
        use Keyword::*;
        matches!(
            self,
            And | Between
                | By
                | Case
                | Default
                | Distinct
                | Else
                | From
                | Having
                | In
                | Interval
                | Like
                | Limit
                | Not
                | Offset
                | On
                | Or
                | Returning
                | Select
                | Set
                | Then
                | Values
                | When
                | Where
        )
    }
}
