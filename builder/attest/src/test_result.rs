//! in-toto's test result v0.1: how an image fared in the verification suite.

use crate::{Error, ResourceDescriptor, Result, json::null_is_default};
use std::collections::BTreeSet;

const WHAT: &str = "test result";

/// The suite's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TestOutcome {
    /// Nothing was found.
    Passed,
    /// Something was found that does not block.
    Warned,
    /// Something was found that blocks.
    Failed,
}

/// The predicate. The outcome and the three lists always agree.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// The verdict.
    pub result: TestOutcome,
    /// What decided it: the policy, the suite, the report.
    pub configuration: Vec<ResourceDescriptor>,
    /// Checks that found nothing.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeSet::is_empty")]
    pub passed_tests: BTreeSet<String>,
    /// Checks that found something that does not block.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeSet::is_empty")]
    pub warned_tests: BTreeSet<String>,
    /// Checks that found something that blocks.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeSet::is_empty")]
    pub failed_tests: BTreeSet<String>,
}

impl TestResult {
    /// The verdict that follows from the three lists.
    pub fn of(
        configuration: Vec<ResourceDescriptor>,
        passed: BTreeSet<String>,
        warned: BTreeSet<String>,
        failed: BTreeSet<String>,
    ) -> Self {
        let result = outcome(&warned, &failed);
        Self { result, configuration, passed_tests: passed, warned_tests: warned, failed_tests: failed }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let expected = outcome(&self.warned_tests, &self.failed_tests);
        if self.result != expected {
            let reason = format!("is {:?}, but the tests listed make it {expected:?}", self.result);
            return Err(Error::field(WHAT, "result", reason));
        }
        if self.passed_tests.is_empty() && self.warned_tests.is_empty() && self.failed_tests.is_empty() {
            return Err(Error::field(WHAT, "passedTests", "no test is listed, so nothing was tested"));
        }
        let twice = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.intersection(b).next().cloned();
        let shared = twice(&self.passed_tests, &self.warned_tests)
            .or_else(|| twice(&self.passed_tests, &self.failed_tests))
            .or_else(|| twice(&self.warned_tests, &self.failed_tests));
        if let Some(test) = shared {
            return Err(Error::field(WHAT, crate::json::shown(&test), "stands in two lists"));
        }
        match self.configuration.iter().position(|resource| !resource.is_named()) {
            Some(at) => Err(Error::field(WHAT, format!("configuration[{at}]"), "has no uri, digest or content")),
            None => Ok(()),
        }
    }
}

fn outcome(warned: &BTreeSet<String>, failed: &BTreeSet<String>) -> TestOutcome {
    match (failed.is_empty(), warned.is_empty()) {
        (false, _) => TestOutcome::Failed,
        (true, false) => TestOutcome::Warned,
        (true, true) => TestOutcome::Passed,
    }
}
