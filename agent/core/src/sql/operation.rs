//! What operations are called.

use super::keyword::Keyword;

/// The operation of a statement that begins with the word; None where it is no statement, or names its object as well.
pub(super) fn of_verb(verb: Keyword) -> Option<&'static str> {
    Some(match verb {
        Keyword::Abort => "ABORT",
        Keyword::Alter => "ALTER",
        Keyword::Analyze => "ANALYZE",
        Keyword::Begin => "BEGIN",
        Keyword::Call => "CALL",
        Keyword::Check => "CHECK TABLE",
        Keyword::Checkpoint => "CHECKPOINT",
        Keyword::Close => "CLOSE",
        Keyword::Cluster => "CLUSTER",
        Keyword::Comment => "COMMENT",
        Keyword::Commit => "COMMIT",
        Keyword::Copy => "COPY",
        Keyword::Create => "CREATE",
        Keyword::Deallocate => "DEALLOCATE",
        Keyword::Declare => "DECLARE",
        Keyword::Delete => "DELETE",
        Keyword::Desc | Keyword::Describe => "DESCRIBE",
        Keyword::Discard => "DISCARD",
        Keyword::Do => "DO",
        Keyword::Drop => "DROP",
        Keyword::End => "END",
        Keyword::Exec => "EXEC",
        Keyword::Execute => "EXECUTE",
        Keyword::Explain => "EXPLAIN",
        Keyword::Fetch => "FETCH",
        Keyword::Flush => "FLUSH",
        Keyword::Grant => "GRANT",
        Keyword::Handler => "HANDLER",
        Keyword::Insert => "INSERT",
        Keyword::Kill => "KILL",
        Keyword::Listen => "LISTEN",
        Keyword::Load => "LOAD",
        Keyword::Lock => "LOCK",
        Keyword::Merge => "MERGE",
        Keyword::Move => "MOVE",
        Keyword::Notify => "NOTIFY",
        Keyword::Optimize => "OPTIMIZE TABLE",
        Keyword::Prepare => "PREPARE",
        Keyword::Refresh => "REFRESH MATERIALIZED VIEW",
        Keyword::Reindex => "REINDEX",
        Keyword::Release => "RELEASE SAVEPOINT",
        Keyword::Rename => "RENAME TABLE",
        Keyword::Repair => "REPAIR TABLE",
        Keyword::Replace => "REPLACE",
        Keyword::Reset => "RESET",
        Keyword::Revoke => "REVOKE",
        Keyword::Rollback => "ROLLBACK",
        Keyword::Savepoint => "SAVEPOINT",
        Keyword::Select => "SELECT",
        Keyword::Set => "SET",
        Keyword::Show => "SHOW",
        Keyword::Start => "START",
        Keyword::Table => "TABLE",
        Keyword::Truncate => "TRUNCATE",
        Keyword::Unlisten => "UNLISTEN",
        Keyword::Unlock => "UNLOCK TABLES",
        Keyword::Update => "UPDATE",
        Keyword::Use => "USE",
        Keyword::Vacuum => "VACUUM",
        Keyword::Values => "VALUES",
        Keyword::Xa => "XA",
        _ => return None,
    })
}

/// The operation of CREATE, DROP, ALTER or START with what it is for.
pub(super) fn of_object(verb: Keyword, object: Keyword) -> Option<&'static str> {
    macro_rules! operations {
        ($($object:ident $name:literal),* $(,)?) => {
            match (verb, object) {
                (Keyword::Start, Keyword::Transaction) => Some("START TRANSACTION"),
                $((Keyword::Create, Keyword::$object) => Some(concat!("CREATE ", $name)),)*
                $((Keyword::Drop, Keyword::$object) => Some(concat!("DROP ", $name)),)*
                $((Keyword::Alter, Keyword::$object) => Some(concat!("ALTER ", $name)),)*
                _ => None,
            }
        };
    }
    operations! {
        Database "DATABASE", Default "DEFAULT PRIVILEGES", Domain "DOMAIN", Event "EVENT", Extension "EXTENSION",
        Function "FUNCTION", Index "INDEX", Policy "POLICY", Procedure "PROCEDURE", Publication "PUBLICATION",
        Role "ROLE", Rule "RULE", Schema "SCHEMA", Sequence "SEQUENCE", Server "SERVER", Statistics "STATISTICS",
        Subscription "SUBSCRIPTION", System "SYSTEM", Table "TABLE", Tablespace "TABLESPACE", Trigger "TRIGGER",
        Type "TYPE", User "USER", View "VIEW",
    }
}

/// The operations of one statement.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Operations {
    first: Option<&'static str>,
    /// The statement's own, in no bracket.
    own: Option<&'static str>,
    /// One of its parts that does more than read.
    write: Option<&'static str>,
    several: bool,
}

impl Operations {
    pub(super) fn add(&mut self, operation: &'static str, in_bracket: bool) {
        self.first = self.first.or(Some(operation));
        if self.own.is_none() && !in_bracket {
            self.own = Some(operation);
        } else if !matches!(operation, "SELECT" | "TABLE" | "VALUES") {
            self.several |= self.write.is_some_and(|known| known != operation);
            self.write = Some(operation);
        }
    }

    /// The one that says what the statement does, if one does.
    pub(super) fn sole(self) -> Option<&'static str> {
        let own = self.own.or(self.first)?;
        let wraps = matches!(own, "EXPLAIN" | "DESCRIBE" | "ANALYZE" | "PREPARE" | "DECLARE" | "COPY");
        let writes_otherwise = self.several || self.write.is_some_and(|write| write != own);
        (wraps || !writes_otherwise).then_some(own)
    }
}
