//! The part of SPDX 2.3's JSON that an inventory uses, field by field as the format names them.

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    #[serde(rename = "SPDXID")]
    pub(crate) id: &'static str,
    pub(crate) spdx_version: &'static str,
    pub(crate) data_license: &'static str,
    pub(crate) name: String,
    pub(crate) document_namespace: String,
    pub(crate) creation_info: CreationInfo,
    pub(crate) packages: Vec<Package>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<File>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) has_extracted_licensing_infos: Vec<ExtractedLicense>,
    pub(crate) relationships: Vec<Relationship>,
}

#[derive(Serialize)]
pub(crate) struct CreationInfo {
    pub(crate) created: String,
    pub(crate) creators: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Package {
    #[serde(rename = "SPDXID")]
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version_info: String,
    pub(crate) supplier: &'static str,
    pub(crate) download_location: String,
    pub(crate) files_analyzed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) package_verification_code: Option<VerificationCode>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) checksums: Vec<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) homepage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<String>,
    pub(crate) license_concluded: &'static str,
    pub(crate) license_declared: String,
    pub(crate) copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) primary_package_purpose: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) external_refs: Vec<ExternalRef>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerificationCode {
    pub(crate) package_verification_code_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Checksum {
    pub(crate) algorithm: &'static str,
    pub(crate) checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExternalRef {
    pub(crate) reference_category: &'static str,
    pub(crate) reference_type: &'static str,
    pub(crate) reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct File {
    #[serde(rename = "SPDXID")]
    pub(crate) id: String,
    pub(crate) file_name: String,
    pub(crate) checksums: [Checksum; 2],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExtractedLicense {
    pub(crate) license_id: String,
    pub(crate) extracted_text: String,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Relationship {
    pub(crate) spdx_element_id: String,
    pub(crate) relationship_type: &'static str,
    pub(crate) related_spdx_element: String,
}
